"""How one dispatch is deleted, because somebody asked for it."""

from __future__ import annotations

import asyncio

from qcov.classical.engine.channel import Message
from qcov.classical.engine.runner import Runner
from qcov.classical.status import Status
from qcov.errors import DeletionRefused
from qcov.store.pruning import family_of

_SOON = 1.0  # seconds: those that are deleted together are swept up after together


class Deleting:
    """Deletes dispatches, with their sublattices and results.

    What may run again stays, as it does when old ones are pruned.

    Args:
        runner: What runs those of this engine.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._store, self._read = runner, runner.store, runner.read
        self._sweeping: asyncio.Task[None] | None = None

    async def delete(self, dispatch_id: str) -> str:
        """Delete a dispatch that has ended; say so once that is on disk.

        Its payloads follow soon, those that nothing else refers to. Raises `DispatchNotFound`, and
        `DeletionRefused` for one that runs, is part of another, or is needed.
        """
        row = await self._read(self._store.get_dispatch, dispatch_id)
        if row["parent_id"] is not None:
            root = row["root_id"]
            raise DeletionRefused(
                dispatch_id=dispatch_id, reason=f"is part of {root}", advice="Delete that one."
            )
        await self._check_triggers(dispatch_id)
        family = await asyncio.to_thread(family_of, self._store, dispatch_id)
        for member, status in family.items():
            if not Status.is_terminal(status):
                part = "" if member == dispatch_id else f"has a sublattice, {member}, that "
                raise DeletionRefused(
                    dispatch_id=dispatch_id,
                    reason=f"{part}is {status}",
                    advice="Cancel it first, or wait for its end.",
                )
        if not await self._runner.pruner.remove(list(family)):
            raise DeletionRefused(
                dispatch_id=dispatch_id,
                reason="is needed by another one that runs and takes values over from it",
                advice="Wait for that one's end.",
            )
        self._runner.events.announce(dispatch_id, dispatch_id, None, Status(row["status"]))
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        return f"Dispatch {dispatch_id} deleted."

    async def _check_triggers(self, dispatch_id: str) -> None:
        triggers: list[Message] = await self._read(self._store.triggers_of, dispatch_id)
        if any(trigger["status"] == "ACTIVE" for trigger in triggers):
            raise DeletionRefused(
                dispatch_id=dispatch_id,
                reason="has a trigger that may run it again",
                advice="Stop its triggers first.",
            )

    async def _sweep(self) -> None:
        """Remove what the deleted ones alone referred to."""
        await asyncio.sleep(_SOON)
        self._sweeping = None
        await self._runner.pruner.prune(0.0)
