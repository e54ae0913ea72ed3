"""Several engines with one store: each keeps its dispatches, and takes over what another has left.

All of it is done at a beat, in a thread of its own: what cannot be reached now is tried again. The
beat waits for the database, and for nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.intake import settle_environment
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

    def heed(self, dispatch_id: str, node_ids: list[int] | None) -> None:
        """Cancel what runs here, as another engine was asked to."""
        ...

    async def committed(self, changes: Changes) -> None:
        """Write `changes`; return when they are on disk."""
        ...


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
        self._unfit: dict[str, float] = {}  # roots that cannot run here; when to look again
        self._spoilt: set[str] = set()  # roots whose changes were refused once
        self._pause = min(_LONGEST_BEAT, self._leases.seconds / _PER_LEASE)
        self._thread = ThreadPoolExecutor(
            1, "qcov-leases"
        )  # others' questions keep it from nothing
        self._tasks: set[asyncio.Task[None]] = set()

    def recover(self) -> None:
        """Go on with what an earlier engine of this data folder has left, and with what is free."""
        self._tasks.add(self._loop.create_task(self._beat_on()))

    def close(self) -> None:
        """Keep nothing up any more."""
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False)

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None) -> None:
        """Ask the engine that runs a dispatch to cancel it; return when that has heeded it."""
        if node_ids:
            nodes = await asyncio.to_thread(self._store.get_nodes, dispatch_id)
            for number in set(node_ids) - {row["node_id"] for row in nodes}:
                raise NodeNotFound(dispatch_id=dispatch_id, node_id=number)

        def heeded() -> bool:
            row = self._store.get_dispatch(dispatch_id)
            return row["cancel_requested"] is None or Status(row["status"]).terminal

        # it may be about to heed another request
        await _until(lambda: self._leases.ask_to_cancel(dispatch_id, node_ids) or heeded())
        await _until(heeded)

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
        await self._ask(self._leases.give_back, [root])
        if again:
            await self._end(root, Status.FAILED, error)

    async def _ask(self, question: Callable[..., T], *arguments: Any, **more: Any) -> T:
        asked = partial(question, *arguments, **more)
        return await self._loop.run_in_executor(self._thread, asked)

    # -- the beat

    async def _beat_on(self) -> None:
        own = True  # an earlier engine of this data folder is no more
        while True:
            try:
                await self._beat(own=own)
                own = False
            except QcovError as error:
                _log.warning("the leases could not be renewed: %s", error)
            except Exception:  # noqa: BLE001  # the engine must outlive its own defects
                _log.exception("the leases could not be renewed")
            await asyncio.sleep(self._pause)

    async def _beat(self, *, own: bool) -> None:
        for dispatch_id in await self._ask(self._leases.renew):
            self._runs.drop(dispatch_id)
        for dispatch_id, nodes in (await self._ask(self._leases.to_cancel)).items():
            self._engine.heed(dispatch_id, nodes)
        await self._take_over(own=own)
        watched = self._engine.triggers.watched()
        triggers = await self._ask(self._leases.take_triggers, own=own, but=watched)
        self._engine.triggers.resume(triggers)
        self._engine.triggers.keep(await self._ask(self._leases.own_triggers))

    async def _take_over(self, *, own: bool) -> None:
        later = [root for root, when in self._unfit.items() if when > self._loop.time()]
        lapsed = await self._ask(self._leases.lapsed, own=own, but=later)
        if not lapsed:
            return
        misfits = await self._ask(self._misfits, [row["root_id"] for row in lapsed])
        for row in lapsed:
            if (reason := misfits.get(row["root_id"])) is not None:
                await self._leave(row, reason)
        fit = [row["root_id"] for row in lapsed if row["root_id"] not in misfits]
        if fit:
            await self._go_on(await self._ask(self._leases.take, fit, own=own))

    async def _go_on(self, rows: Sequence[Message]) -> None:
        try:
            found = await self._ask(self._runs.read_all, rows)
        except StoreUnavailable:  # they are read at another beat, by whoever can
            for row in rows:
                self._leases.forget(row["id"])
            await self._ask(self._leases.give_back, {row["root_id"] for row in rows})
            raise
        if unfit := self._runs.go_on(found):
            self._unfit |= dict.fromkeys(unfit, self._loop.time() + self._leases.seconds)
            await self._ask(self._leases.give_back, unfit)

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
        root = row["root_id"]
        if row["cancel"]:
            return await self._end(root, Status.CANCELLED, None)
        if row["owner"] == self._leases.owner:  # it was this folder's, and is anybody's now
            await self._ask(self._leases.give_back, [root])
        elif row["waits"] > _PATIENCE * self._leases.seconds:
            return await self._end(root, Status.FAILED, error)
        if row["error"] is None:
            _log.warning("dispatch %s is left to other engines: %s", root, error)
            await self._ask(self._leases.note, root, f"Nobody runs it: {error}")
        self._unfit[root] = self._loop.time() + self._leases.seconds
        return None

    async def _end(self, root: str, status: Status, error: QcovError | None) -> None:
        """End a dispatch that nobody runs, with all its sublattices."""
        rows = await self._ask(self._leases.take, [root])
        reason = None if error is None else f"{type(error).__name__}: {error}"
        await self._engine.committed(await self._ask(self._ending, rows, status, reason))
        for row in rows:
            self._leases.forget(row["id"])

    def _ending(self, rows: Iterable[Message], status: Status, reason: str | None) -> Changes:
        changes: Changes = {}
        for dispatch_id in (row["id"] for row in rows):
            ended = outcomes.without_result(dispatch_id, status, reason)
            outcomes.add(changes, "dispatch_ended", ended)
            outcomes.add(changes, "cancel_heeded", {"of_dispatch": dispatch_id})
            for node in self._store.get_nodes(dispatch_id):
                if not Status(node["status"]).terminal:
                    key = outcomes.key_of(dispatch_id, node["node_id"], node["attempt"])
                    outcomes.add(changes, "node_status", key | {"new_status": "CANCELLED"})
        return changes


async def _until(look: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(look):  # noqa: ASYNC110  # it happens in the database
        await asyncio.sleep(LOOK_AGAIN)
