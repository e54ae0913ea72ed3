"""Several engines with one store: each keeps its dispatches, and takes over what another has left.

All of it is done at a beat, in a thread: what cannot be reached now is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from qcov.classical.engine.channel import Message
from qcov.classical.engine.runs import Runs
from qcov.classical.engine.triggers import Triggers
from qcov.classical.status import Status
from qcov.errors import NodeNotFound, QcovError
from qcov.store.store import Store

_log = logging.getLogger("qcov.engine")

LOOK_AGAIN = 0.25  #: seconds between two looks at what another engine runs
_LONGEST_BEAT = 1.0  # seconds: what is asked of this engine through the store must not wait long
_PER_LEASE = 5  # beats in the length of a lease, at least


class Sharer(Protocol):
    """What is needed of the engine."""

    triggers: Triggers

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None = None) -> str:
        """Cancel a dispatch, or some of its nodes."""
        ...

    async def note_heeded(self, dispatch_id: str) -> None:
        """Another engine's request to cancel has been heeded."""
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
        self._unfit: set[str] = set()  # dispatches that cannot run here
        self._pause = min(_LONGEST_BEAT, self._leases.seconds / _PER_LEASE)
        self._beating: asyncio.Task[None] | None = None

    def recover(self) -> None:
        """Go on with what an earlier engine of this data folder has left, and with what is free."""
        self._take_over(self._leases.take(own=True))
        self._engine.triggers.resume(self._leases.take_triggers(own=True))
        self._beating = asyncio.get_running_loop().create_task(self._beat_on())

    def close(self) -> None:
        """Keep nothing up any more."""
        if self._beating is not None:
            self._beating.cancel()

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None) -> None:
        """Ask the engine that runs a dispatch to cancel it; return when that has heeded it."""
        known = {row["node_id"] for row in self._store.get_nodes(dispatch_id)}
        for number in set(node_ids or ()) - known:
            raise NodeNotFound(dispatch_id=dispatch_id, node_id=number)

        def heeded() -> bool:
            row = self._store.get_dispatch(dispatch_id)
            return row["cancel_requested"] is None or Status(row["status"]).terminal

        # it may be about to heed another request
        await _until(lambda: self._leases.ask_to_cancel(dispatch_id, node_ids) or heeded())
        await _until(heeded)

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._beat()
            except QcovError as error:
                _log.warning("the leases could not be renewed: %s", error)
            except Exception:  # noqa: BLE001  # the engine must outlive its own defects
                _log.exception("the leases could not be renewed")

    async def _beat(self) -> None:
        for dispatch_id in await asyncio.to_thread(self._leases.renew):
            self._runs.drop(dispatch_id)
        taken = await asyncio.to_thread(self._leases.take, but=self._unfit)
        self._take_over(taken)
        watched = self._engine.triggers.watched()
        if triggers := await asyncio.to_thread(self._leases.take_triggers, but=watched):
            self._engine.triggers.resume(triggers)
        self._engine.triggers.keep(await asyncio.to_thread(self._leases.own_triggers))
        asked = await asyncio.to_thread(self._leases.to_cancel)
        for dispatch_id, nodes in asked.items():
            with contextlib.suppress(QcovError):  # it has no such node: whoever asked was told
                await self._engine.cancel(dispatch_id, nodes)
            await self._engine.note_heeded(dispatch_id)

    def _take_over(self, rows: Sequence[Message]) -> None:
        unfit = set(self._runs.go_on(rows))
        if not unfit:
            return
        self._unfit |= unfit
        left = [row["id"] for row in rows if row["root_id"] in unfit]
        _log.warning("dispatches that cannot run here are left to other engines: %s", left)
        for dispatch_id in left:
            self._leases.forget(dispatch_id)
        self._leases.give_back(left)


async def _until(look: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(look):  # noqa: ASYNC110  # it happens in the database
        await asyncio.sleep(LOOK_AGAIN)
