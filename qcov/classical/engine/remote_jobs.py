"""Jobs at providers of quantum computers, when the electrons that they belong to are cancelled.

The engine knows no provider and has nobody's credentials: `qcov jobs cancel` is run in the
environment of the program, which has both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
from collections.abc import Collection
from pathlib import Path

from qcov.classical.engine.spawn import Environment, kill_group
from qcov.journal import Journal

_log = logging.getLogger("qcov.engine")

#: Our own package comes last on the path: an installed one wins.
_BOOT = (
    "import json, sys; sys.path[:] = [*json.loads(sys.argv.pop(1)), sys.argv.pop(1)]; "
    "from qcov.cli import main; main()"
)
_ROOT = str(Path(__file__).parents[3])
_TRIES = 3
_AGAIN_AFTER = 2.0  # seconds; a worker that is being stopped may just have submitted one more
_LIMIT = 120.0  # seconds for one try


class RemoteJobs:
    """Cancels the jobs of electrons that were cancelled."""

    def __init__(self) -> None:
        self._doing: set[asyncio.Task[None]] = set()

    def cancel(self, dispatch_id: str, nodes: Collection[int], environment: Environment) -> None:
        """Cancel what electrons of a dispatch have at providers, if they have anything."""
        if nodes and Journal().path.exists():
            doing = asyncio.get_running_loop().create_task(
                self._cancel(dispatch_id, frozenset(nodes), environment)
            )
            self._doing.add(doing)
            doing.add_done_callback(self._doing.discard)

    @property
    def busy(self) -> bool:
        """Whether jobs are being cancelled."""
        return bool(self._doing)

    async def _cancel(
        self, dispatch_id: str, nodes: Collection[int], environment: Environment
    ) -> None:
        for _ in range(_TRIES):
            if await asyncio.to_thread(_has_jobs, dispatch_id, nodes):
                await _run(environment, dispatch_id, nodes)
            await asyncio.sleep(_AGAIN_AFTER)


def _has_jobs(dispatch_id: str, nodes: Collection[int]) -> bool:
    found = Journal().jobs(only_open=True, dispatch_id=dispatch_id)
    return any(job.node_id in nodes for job in found)


async def _run(environment: Environment, dispatch_id: str, nodes: Collection[int]) -> None:
    path = json.dumps([entry for entry in environment.sys_path if entry])
    options = [text for node in sorted(nodes) for text in ("--node", str(node))]
    process = await asyncio.create_subprocess_exec(
        environment.executable, "-c", _BOOT, path, _ROOT,
        "jobs", "cancel", "--dispatch", dispatch_id, *options,
        cwd=environment.cwd,
        env=dict(environment.variables or os.environ),  # not known after a restart of the engine
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_LIMIT):
            said, _ = await process.communicate()
        if process.returncode != 0:
            told = said.decode(errors="replace").strip()
            _log.warning("jobs of dispatch %s were not all cancelled: %s", dispatch_id, told)
    except TimeoutError:
        _log.warning("cancelling jobs of dispatch %s took too long", dispatch_id)
    finally:
        kill_group(process.pid)
