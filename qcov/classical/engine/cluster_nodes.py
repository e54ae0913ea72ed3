"""The nodes of a cluster: Dask's own, but for what happens to workers that die while they start.

Where there are no pages, they have no HTTP servers either: those have no password, and answer
whatever name a browser calls them by. Dask starts them even where its dashboard is off. Only a
cluster's own processes import this.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
from typing import Any

_log = logging.getLogger("distributed.qcov")  # it goes where Dask's goes
_distributed: Any = importlib.import_module("distributed")

_UP_WITHIN = 60.0  # seconds that a worker's process has to come up
_AGAIN_AFTER, _AT_MOST = 0.5, 30.0  # seconds until one that did not is started again

_WANTS_ONE = frozenset({"init", "starting", "running"})  # how a nanny is that is not about to go


class Nanny(_distributed.Nanny):
    """Starts a worker until it has come up.

    Dask's has given up then, or hangs: it may start one more while it still waits for the first.
    """

    _starts = False

    async def instantiate(self) -> Any:
        """Start a worker; how it is."""
        pause, self._starts = _AGAIN_AFTER, True
        try:
            while True:
                status = await self._instantiate_once()
                if status.name == "running" or self.status.name not in _WANTS_ONE:
                    return status
                _log.warning("worker %s died while it started; again in %g s", self.name, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _AT_MOST)
        finally:
            self._starts = False

    async def _instantiate_once(self) -> Any:
        late = asyncio.get_running_loop().call_later(_UP_WITHIN, self._end_process)
        try:
            base: Any = super()
            return await base.instantiate()
        finally:
            late.cancel()

    def _end_process(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)

    async def _on_worker_exit(self, exitcode: int) -> None:
        if not self._starts:
            base: Any = super()
            await base._on_worker_exit(exitcode)


class _WithoutPages:
    def start_http_server(self, *_args: object, **_settings: object) -> None:
        """Start none."""


def _without_pages(node: str) -> Any:
    # a nanny's process finds it by its module
    return type(node, (_WithoutPages, getattr(_distributed, node)), {"__module__": __name__})


Scheduler, Worker = _without_pages("Scheduler"), _without_pages("Worker")
