"""How one dispatch is deleted, because somebody asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Set

from qcov.classical.engine.channel import Message
from qcov.classical.engine.runner import Runner
from qcov.classical.status import Status
from qcov.errors import DeletionRefused
from qcov.store.pruning import family_of, named_by

_log = logging.getLogger("qcov.engine")

_SOON = 1.0  # seconds: those that are deleted together are swept up after together
_LATER = 3600.0  # seconds: then what was too young to be removed is not any more


class Deleting:
    """Deletes dispatches, with their sublattices and results.

    What may run again stays, as it does when old ones are pruned.

    Args:
        runner: What runs those of this engine.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._store, self._read = runner, runner.store, runner.read
        self._named: set[str] = set()  # payloads of deleted ones
        self._asked = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Stop; what was not removed yet, pruning removes."""
        if self._sweeping is not None:
            self._sweeping.cancel()

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
        named = await asyncio.to_thread(named_by, self._store, list(family))
        if not await self._runner.pruner.remove(list(family)):
            raise DeletionRefused(
                dispatch_id=dispatch_id,
                reason="is needed by another one that runs and takes values over from it",
                advice="Wait for that one's end.",
            )
        self._runner.events.announce(dispatch_id, dispatch_id, None, Status(row["status"]))
        self._free(named)
        return f"Dispatch {dispatch_id} deleted."

    async def _check_triggers(self, dispatch_id: str) -> None:
        triggers: list[Message] = await self._read(self._store.triggers_of, dispatch_id)
        active = [each for each in triggers if each["status"] == "ACTIVE"]
        if active:
            names = ", ".join(f"{each['name']} ({each['id']})" for each in active)
            raise DeletionRefused(
                dispatch_id=dispatch_id,
                reason=f"is run again by the trigger {names}",
                advice=f"Stop its triggers first: `qcov triggers {dispatch_id} --stop`.",
            )

    def _free(self, digests: Set[str]) -> None:
        self._named |= digests
        self._asked.set()
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep(), name="qcov-deleting")

    async def _sweep(self) -> None:
        """Remove what the deleted ones alone referred to: of many, at once."""
        while True:
            await asyncio.sleep(_SOON)
            self._asked.clear()
            named, self._named = self._named, set()
            try:
                self._named |= await self._runner.pruner.free(named)
            except Exception:  # noqa: BLE001  # a defect of ours, too: others are deleted later
                _log.exception("payloads of deleted dispatches stay, until it is tried again")
                self._named |= named
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _LATER if self._named else None)
