"""How clients follow dispatches: until they end, or until something happens to them."""

from __future__ import annotations

import asyncio
import contextlib

from qcov.classical.engine.channel import Message
from qcov.classical.engine.runner import Runner
from qcov.classical.engine.runs import is_held
from qcov.classical.engine.sharing import LOOK_AGAIN
from qcov.classical.status import Status
from qcov.errors import IntegrityError


class Following:
    """Waits for what happens to dispatches, here or at another engine.

    Args:
        runner: What runs those of this engine.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._runs, self._events = runner, runner.runs, runner.events
        self._store, self._read = runner.store, runner.read
        self._loop = asyncio.get_running_loop()

    async def wait(self, dispatch_id: str, timeout: float | None = None) -> str:
        """Wait until a dispatch has ended, or for `timeout` seconds; return its status."""
        until = None if timeout is None else self._loop.time() + timeout
        while True:
            run = self._runs.get(dispatch_id)
            if run is not None:
                left = None if until is None else max(0.0, until - self._loop.time())
                await asyncio.wait([run.done], timeout=left)
                if not run.lost:
                    return run.status.value
            status = await self._read.patiently(self._store.status, dispatch_id, until=until)
            over = until is not None and self._loop.time() >= until
            if over or Status(status).terminal:
                return status
            # it waits to be started, runs elsewhere, or its end is on its way to the disk
            await self._happens(dispatch_id, until, look_again=not is_held(status))

    async def outcome(self, dispatch_id: str, until: float | None = None) -> Message:
        """A dispatch's row, and its result if it has one that is not in a file.

        A server that is away is waited for, until then by the loop's clock.
        """
        row = await self._read.patiently(self._store.get_dispatch, dispatch_id, until=until)
        result: Message | None = None
        with contextlib.suppress(IntegrityError):  # whoever reads the result will be told
            digest = self._store.checked_result(row)
            if digest is not None and self._runner.blobs_used.missing([digest]):
                read = await self._read.patiently(self._store.inline_blob, digest, until=until)
                self._runner.blobs_used.keep(digest, read)
            data = None if digest is None else self._runner.blobs_used.get(digest)
            result = None if data is None else {"digest": digest, "data": data}
        return {"dispatch": row, "result": result}

    async def progress(
        self, dispatch_id: str, after: int = 0, timeout: float | None = None
    ) -> Message:
        """Say how far a dispatch is, once something has happened since event number `after`.

        Or after `timeout` seconds. Sublattices count too.

        Returns:
            `seq`, the number of the last event; `status`; `done` and `total`, its electrons.
        """
        until = None if timeout is None else self._loop.time() + timeout
        row = await self._read.patiently(self._store.get_dispatch, dispatch_id, until=until)
        waits = is_held(row["status"]) or self._runner.is_elsewhere(row["status"])
        if dispatch_id in self._runs or waits:
            await self._happens(row["root_id"], until, after)
        seen = self._events.number
        state = await self._read.at_length(self._store.progress, dispatch_id, until=until)
        return {"seq": seen, **state}

    async def _happens(
        self,
        root: str,
        until: float | None,
        after: int | None = None,
        *,
        look_again: bool = False,
    ) -> None:
        """Wait until something happens to a dispatch, maybe at another engine; or until then."""
        if look_again or self._runner.sharing is not None:  # what others do is seen by looking
            soon = self._loop.time() + LOOK_AGAIN
            until = soon if until is None else min(soon, until)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._events.wait_for(root, self._events.number if after is None else after)
