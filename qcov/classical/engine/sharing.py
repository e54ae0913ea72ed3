"""Several engines with one store: each keeps its dispatches, and takes over what another has left.

All of it is done at a beat, in threads: what cannot be reached now is tried again. A beat waits for
the database, and for no other engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.events import Events
from qcov.classical.engine.intake import settle_environment
from qcov.classical.engine.neighbours import Neighbours
from qcov.classical.engine.runs import Runs
from qcov.classical.engine.triggers import Triggers
from qcov.classical.status import Status
from qcov.errors import EnvironmentMismatch, NodeNotFound, QcovError, StoreUnavailable
from qcov.store.changes import Changes
from qcov.store.store import Store

_log = logging.getLogger("qcov.engine")

LOOK_AGAIN = 0.25  #: seconds between two looks at what another engine runs
_LONGEST_BEAT = 1.0  # seconds: what is asked of this engine through the store must not wait long
_PER_LEASE = 5  # beats in the length of a lease, at least
_PATIENCE = 240  # leases, two hours by default: that nobody can run a dispatch, until it fails

T = TypeVar("T")


class Sharer(Protocol):
    """What is needed of the engine."""

    triggers: Triggers
    events: Events

    def commit(self, changes: Changes, then: Callable[[], None] | None = None) -> None:
        """Write `changes`, then call `then`."""
        ...

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unfit:
    """A dispatch that cannot run here, by the loop's clock."""

    since: float
    until: float  # then it is looked at again


class Sharing:
    """The leases of an engine, kept up while it lives.

    Args:
        engine: The engine.
        runs: What it runs.
        store: Its store, on a database that several share.
    """

    def __init__(self, engine: Sharer, runs: Runs, store: Store) -> None:
        assert store.leases is not None
        self._engine, self._runs = engine, runs
        self._store, self._leases = store, store.leases
        self._loop = asyncio.get_running_loop()
        self._unfit: dict[str, _Unfit] = {}  # roots that cannot run here
        self._spoilt: set[str] = set()  # roots whose changes were refused once
        self._pause = min(_LONGEST_BEAT, self._leases.seconds / _PER_LEASE)
        self._keeper = ThreadPoolExecutor(1, "qcov-leases")  # no other question delays it
        self.recovering = True  #: until it was once seen what there is to go on with
        self._tasks: set[asyncio.Task[None]] = set()

    def recover(self) -> None:
        """Go on with what an earlier engine of this data folder has left, and with what is free."""
        for beat in (self._keep, self._look):
            self._tasks.add(self._loop.create_task(self._beat_on(beat)))
        neighbours = Neighbours(self._engine.events, self._leases)
        self._tasks.add(self._loop.create_task(neighbours.watch()))

    def close(self) -> None:
        """Keep nothing up any more."""
        for task in self._tasks:
            task.cancel()
        self._keeper.shutdown(wait=False)

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None) -> None:
        """Ask the engine that runs a dispatch to cancel it; return when that has heeded it."""
        if node_ids:
            nodes = await asyncio.to_thread(self._store.get_nodes, dispatch_id)
            for number in set(node_ids) - {row["node_id"] for row in nodes}:
                raise NodeNotFound(dispatch_id=dispatch_id, node_id=number)

        def over() -> bool:
            return Status(self._store.status(dispatch_id)).terminal

        def heeded() -> bool:
            return self._store.get_dispatch(dispatch_id)["cancel_requested"] is None

        # it may have to heed another request first
        await _until(lambda: self._leases.ask_to_cancel(dispatch_id, node_ids) or over())
        await _until(lambda: heeded() or over())

    def spoilt(self, dispatch_ids: Iterable[str], error: QcovError) -> None:
        """What became of these dispatches was refused: what is stored may not be what we think.

        They are read once more; the second time they fail.
        """
        runs = (self._runs.get(each) for each in dispatch_ids)
        for root in {run.root_id for run in runs if run is not None}:
            _log.error("dispatch %s is read once more: %s", root, error)
            self._runs.drop(root)
            self._tasks.add(task := self._loop.create_task(self._settle(root, error)))
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, root: str, error: QcovError) -> None:
        again = root in self._spoilt
        self._spoilt.add(root)
        try:
            await asyncio.to_thread(self._leases.give_back, [root])
            if again:
                await self._end(root, Status.FAILED, error)
        except QcovError as more:  # its lease ends by itself
            _log.warning("dispatch %s could not be given back: %s", root, more)

    # -- the beat

    async def _beat_on(self, beat: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await beat()
            except QcovError as error:
                _log.warning("the leases could not be renewed: %s", error)
            except Exception:  # noqa: BLE001  # the engine must outlive its own defects
                _log.exception("the leases could not be renewed")
            await asyncio.sleep(self._pause)

    async def _keep(self) -> None:
        """Keep what is this engine's, and do what it is asked to."""
        for dispatch_id in await self._ask(self._leases.renew):
            self._runs.drop(dispatch_id)
        for dispatch_id, request in (await self._ask(self._leases.to_cancel)).items():
            self._heed(dispatch_id, request)
        self._engine.triggers.keep(await self._ask(self._leases.own_triggers))

    def _heed(self, dispatch_id: str, request: str) -> None:
        """Cancel what runs here, as another engine was asked to."""
        run = self._runs.get(dispatch_id)
        if run is None or run.status.terminal:  # it begins, or ends
            return
        changes: Changes = {}
        follows: Callable[[], None] | None = None
        with contextlib.suppress(NodeNotFound):  # whoever asked was told
            follows, _ = run.cancel(changes, json.loads(request))
        heeded = {"of_dispatch": dispatch_id, "of_request": request}
        outcomes.add(changes, "cancel_heeded", heeded)
        self._engine.commit(changes, follows)

    async def _ask(self, question: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._keeper, question)

    async def _look(self) -> None:
        """Take over what nobody has: reading it may take a while, in which all else is kept."""
        own = self.recovering  # an earlier engine of this data folder is no more
        await self._take_over(own=own)
        watched = self._engine.triggers.watched()
        triggers = await asyncio.to_thread(self._leases.take_triggers, own=own, but=watched)
        self._engine.triggers.resume(triggers)
        self.recovering = False

    async def _take_over(self, *, own: bool) -> None:
        later = [root for root, unfit in self._unfit.items() if unfit.until > self._loop.time()]
        lapsed = await asyncio.to_thread(self._leases.lapsed, own=own, but=later)
        if not lapsed:
            return
        misfits = await asyncio.to_thread(self._misfits, [row["root_id"] for row in lapsed])
        for row in lapsed:
            if (reason := misfits.get(row["root_id"])) is not None:
                await self._leave(row, reason)
        fit = [row["root_id"] for row in lapsed if row["root_id"] not in misfits]
        if fit:
            await self._go_on(await asyncio.to_thread(self._leases.take, fit, own=own))

    async def _go_on(self, rows: Sequence[Message]) -> None:
        try:
            unfit = self._runs.go_on(await asyncio.to_thread(self._runs.read_all, rows))
        except Exception:  # they are read at another beat, by whoever can
            for row in rows:
                self._runs.drop(row["id"])
            roots = {row["root_id"] for row in rows}
            await asyncio.to_thread(self._leases.give_back, roots)
            raise
        if unfit:
            await asyncio.to_thread(self._leases.give_back, unfit)
        for root in unfit:
            self._is_unfit(root)

    # -- what cannot run here

    def _misfits(self, roots: Iterable[str]) -> Mapping[str, EnvironmentMismatch]:
        misfits: dict[str, EnvironmentMismatch] = {}
        for root in roots:
            try:
                settle_environment(self._store.manifest(root)["environment"])
            except EnvironmentMismatch as error:
                misfits[root] = error
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001  # it is damaged, which is told once it is taken
                _log.exception("dispatch %s cannot be read", root)
        return misfits

    async def _leave(self, row: Message, error: EnvironmentMismatch) -> None:
        """Leave a dispatch to other engines, with the reason; end it if that is to be."""
        root, patience = row["root_id"], _PATIENCE * self._leases.seconds
        if row["owner"] == self._leases.owner:  # it was this folder's, and is anybody's now
            await asyncio.to_thread(self._leases.give_back, [root])
        if row["cancel"]:
            return await self._end(root, Status.CANCELLED, None)
        since = self._is_unfit(root)  # nobody runs anything while all engines are switched off
        if min(row["waits"], self._loop.time() - since) > patience:
            return await self._end(root, Status.FAILED, error)
        if row["error"] is None:
            _log.warning("dispatch %s is left to other engines: %s", root, error)
            await asyncio.to_thread(self._leases.note, root, f"Nobody runs it: {error}")
        return None

    def _is_unfit(self, root: str) -> float:
        """Look at it again in a while; since when it has been seen that it cannot run here."""
        now = self._loop.time()
        since = self._unfit[root].since if root in self._unfit else now
        self._unfit[root] = _Unfit(since=since, until=now + self._leases.seconds)
        return since

    async def _end(self, root: str, status: Status, error: QcovError | None) -> None:
        """End a dispatch that nobody runs, with all its sublattices."""
        rows = await asyncio.to_thread(self._leases.take, [root])
        reason = None if error is None else outcomes.told(error)
        changes = await asyncio.to_thread(self._ending, rows, status, reason)
        await self._engine.committed(changes)
        self._unfit.pop(root, None)
        for row in rows:
            self._leases.forget(row["id"])

    def _ending(self, rows: Iterable[Message], status: Status, reason: str | None) -> Changes:
        changes: Changes = {}
        for dispatch_id in (row["id"] for row in rows):
            nodes = self._store.get_nodes(dispatch_id)
            for statement, more in outcomes.given_up(dispatch_id, nodes, status, reason).items():
                outcomes.add(changes, statement, *more)
        return changes


async def _until(look: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(look):  # noqa: ASYNC110  # it happens in the database
        await asyncio.sleep(LOOK_AGAIN)
