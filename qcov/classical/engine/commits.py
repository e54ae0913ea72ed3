"""What an engine writes, in the order in which it happens, and what follows once it is on disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from functools import partial

from qcov.classical.engine.channel import take_turn
from qcov.errors import LeaseLost, QcovError, StoreUnavailable
from qcov.store.changes import Changes, dispatches_in
from qcov.store.store import Store

Refused = Callable[[QcovError], None]


class Commits:
    """The changes of one engine, which lives in the loop that runs.

    Args:
        store: Where they are written.
        note: Called with all changes when they are queued.
        drop: Called with the id of a dispatch that turns out to be another engine's.
        spoilt: Called with dispatches that the store has refused a change of, and its reason;
            without it the engine must not go on.
    """

    def __init__(
        self,
        store: Store,
        note: Callable[[Changes], None],
        drop: Callable[[str], None],
        spoilt: Callable[[Collection[str], QcovError], None] | None,
    ) -> None:
        self._store, self._note, self._drop, self._spoilt = store, note, drop, spoilt
        self._loop = asyncio.get_running_loop()
        self.waiting = 0  #: consequences that wait for the disk
        #: Fails when an outcome could not be stored: the engine must not go on.
        self.broken: asyncio.Future[None] = self._loop.create_future()
        self._written: deque[Callable[[], None]] = deque()

    async def ask(self, changes: Changes, follows: Callable[[], None] = lambda: None) -> None:
        """Write what may be refused, let it have its consequences, then return.

        Raises what is wrong with it, or with the disk.
        """
        stored: asyncio.Future[None] = self._loop.create_future()

        def refused(error: QcovError) -> None:
            self.waiting -= 1
            resolve(stored, error)

        self.waiting += 1
        self._note(changes)
        self._store.put(
            changes,
            lambda error: self._on_written(partial(_follow, stored, follows), refused, error),
            keep=False,
        )
        await stored

    async def made(self, changes: Changes, follows: Callable[[], None] = lambda: None) -> None:
        """Write what happened, let it have its consequences, then return."""
        noted: asyncio.Future[None] = self._loop.create_future()
        self.put(changes, partial(_follow, noted, follows), lambda error: resolve(noted, error))
        await asyncio.shield(noted)

    def put(
        self,
        changes: Changes,
        then: Callable[[], None] | None = None,
        refused: Refused | None = None,
    ) -> None:
        """Write what happened, then call `then` in the loop; at once if there is nothing to write.

        If it is about a dispatch that another engine has taken over, or is refused by a store that
        engines share, `refused` is called.
        """
        self._note(changes)
        if then is None:
            return self._store.put(changes)
        self.waiting += 1
        if any(changes.values()):
            spoils = partial(self._on_refused, changes, refused)
            return self._store.put(changes, lambda error: self._on_written(then, spoils, error))
        return self._finish(then)

    def after(self, then: Callable[[], None]) -> None:
        """Call `then` in the loop once all that was put before is on disk, or was refused."""

        def done(_: QcovError | None) -> None:
            self._loop.call_soon_threadsafe(then)

        self._store.put({}, done)

    def _on_written(
        self, then: Callable[[], None], refused: Refused, error: QcovError | None
    ) -> None:
        """In the writer's thread: wake the loop once for all that one transaction has written."""
        if error is not None:
            self._loop.call_soon_threadsafe(refused, error)
            return
        self._written.append(then)
        if len(self._written) == 1:
            self._loop.call_soon_threadsafe(self._drain_written)

    def _on_refused(self, changes: Changes, refused: Refused | None, error: QcovError) -> None:
        self.waiting -= 1
        if isinstance(error, LeaseLost):
            for dispatch_id in error.dispatches:
                self._drop(dispatch_id)
        elif self._spoilt is None or isinstance(error, StoreUnavailable):
            # not a full disk, which is waited out: a defect of ours
            return resolve(self.broken, error)
        else:
            self._spoilt(dispatches_in(changes), error)
        return None if refused is None else refused(error)

    def _drain_written(self) -> None:
        for _ in range(len(self._written)):
            take_turn(self._finish, self._written.popleft())
        if self._written:  # more came while we looked, and nobody was woken for it
            self._loop.call_soon(self._drain_written)

    def _finish(self, then: Callable[[], None]) -> None:
        self.waiting -= 1
        then()


def _follow(future: asyncio.Future[None], follows: Callable[[], None]) -> None:
    """Let something have its consequences, and say that it had; or what is wrong with them."""
    try:
        follows()
    except Exception as error:
        resolve(future, error)
        raise
    resolve(future, None)


def resolve(future: asyncio.Future[None], error: Exception | None) -> None:
    """Let a future have its outcome, unless it has one already."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
