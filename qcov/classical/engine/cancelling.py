"""How dispatches are cancelled: those that run here, elsewhere, or not yet."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from qcov.classical.engine import outcomes
from qcov.classical.engine.run import Run
from qcov.classical.engine.runner import Runner
from qcov.classical.engine.runs import is_held
from qcov.classical.status import Status
from qcov.errors import IntegrityError, WrongSetting
from qcov.store.changes import Changes

_STOPPED = (Status.CANCELING, Status.CANCELLED)
_ALL_OF_IT = "left out, to cancel all of a dispatch that was only stored"


class Cancelling:
    """Cancels dispatches, or some of their nodes.

    Args:
        runner: What runs those of this engine.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._runs, self._commits = runner, runner.runs, runner.commits
        self._store, self._read = runner.store, runner.read
        self._cancelling: set[asyncio.Task[str]] = set()

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None = None) -> str:
        """Cancel a dispatch, or some of its nodes; say what was done, once it is on disk."""
        doing = asyncio.get_running_loop().create_task(self._cancel(dispatch_id, node_ids))
        self._cancelling.add(doing)
        doing.add_done_callback(self._cancelling.discard)
        return await asyncio.shield(doing)  # a client that goes away does not stop it

    async def _cancel(self, dispatch_id: str, node_ids: list[int] | None) -> str:
        run, stopped_triggers = self._runs.get(dispatch_id), False
        if run is None:
            try:
                run = await self._held_to_cancel(dispatch_id, node_ids)
            except IntegrityError as error:  # it cannot be started either
                return await self._give_up(dispatch_id, error)
            if run is not None:
                stopped_triggers = await self._runner.triggers.stop_those_of(dispatch_id)
        if run is not None and run.status.terminal:  # its end is on its way to the disk
            await asyncio.shield(run.done)
            run = None
        if run is None:
            return await self._cancel_elsewhere(dispatch_id, node_ids)
        changes: Changes = {}
        follows, stopped = run.cancel(changes, node_ids)
        await self._commits.made(changes, follows)
        if node_ids is not None:
            return _told_of(dispatch_id, node_ids, stopped)
        told = f"Dispatch {dispatch_id} cancelled."
        return f"{told} Its triggers were stopped." if stopped_triggers else told

    async def _give_up(self, dispatch_id: str, error: IntegrityError) -> str:
        if self._store.leases is not None:
            await asyncio.to_thread(self._store.leases.take_held, dispatch_id)
        nodes = await asyncio.to_thread(self._store.get_nodes, dispatch_id)
        reason = outcomes.told(error)
        await self._commits.made(outcomes.given_up(dispatch_id, nodes, Status.FAILED, reason))
        await self._runner.triggers.stop_those_of(dispatch_id)
        return f"Dispatch {dispatch_id} is damaged, and has ended as FAILED."

    async def _cancel_elsewhere(self, dispatch_id: str, node_ids: list[int] | None) -> str:
        """Cancel what another engine runs, if one does; by then it may have ended."""
        status = Status(await self._read(self._store.status, dispatch_id))
        if self._runner.sharing is not None and not status.terminal:
            await self._runner.sharing.cancel(dispatch_id, node_ids)
            if node_ids is not None:
                stopped = await asyncio.to_thread(self._stopped, dispatch_id, node_ids)
                return _told_of(dispatch_id, node_ids, stopped)
            status = Status(await self._read(self._store.status, dispatch_id))
            if status is Status.CANCELLED or not status.terminal:
                return f"Dispatch {dispatch_id} cancelled."
        return f"Dispatch {dispatch_id} is already {status}."

    def _stopped(self, dispatch_id: str, node_ids: Iterable[int]) -> set[int]:
        """Those of the nodes that were cancelled, or are about to be."""
        asked = set(node_ids)
        rows = self._store.get_nodes(dispatch_id)
        return {row["node_id"] for row in rows if row["status"] in _STOPPED} & asked

    async def _held_to_cancel(self, dispatch_id: str, node_ids: list[int] | None) -> Run | None:
        """A dispatch that waits to be started, and never will be; None if it has been started."""
        if node_ids is not None and is_held(await self._read(self._store.status, dispatch_id)):
            got = f"given for dispatch {dispatch_id}, which has not been started"
            raise WrongSetting(setting="task_ids", got=got, expected=_ALL_OF_IT)
        run = await self._runner.held(dispatch_id, settle=False)
        if run is not None:
            self._runs.add(run)  # so that nobody starts it meanwhile
        return run


def _told_of(dispatch_id: str, asked: Iterable[int], stopped: Collection[int]) -> str:
    over = sorted(set(asked) - set(stopped))
    ended = f"{_named(over)} had ended"
    if not stopped:
        return f"Nothing of dispatch {dispatch_id} was cancelled: {ended}."
    told = f"{_named(stopped).capitalize()} of dispatch {dispatch_id} cancelled"
    return f"{told}; {ended}." if over else f"{told}."


def _named(numbers: Collection[int]) -> str:
    if not numbers:
        return "no node"
    return f"node{'s' * (len(numbers) > 1)} {', '.join(map(str, sorted(numbers)))}"
