"""An engine that was killed is started again: how soon do its electrons go on?"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import qcov as ct
from qcov.classical.engine import client
from qcov_bench.engines import engine_pid, own_engine, wait_until_gone
from qcov_bench.rows import Row, seconds

_LIMIT = 2.0
_LOOK_EVERY = 1e-3  # seconds


@ct.electron
def held(value: int, folder: str) -> int:
    """Say that electrons run, and wait until they may go on."""
    Path(folder, "begun").touch()
    while not Path(folder, "go").exists():
        time.sleep(_LOOK_EVERY)
    return value


@ct.lattice
def waiting(count: int, folder: str) -> list[int]:
    """Electrons none of which ends by itself."""
    return [held(value, folder) for value in range(count)]


def row(count: int) -> Row:
    """The start of an engine that was killed in the midst of a lattice, until electrons run."""
    with own_engine() as folder:
        dispatch_id = ct.dispatch(waiting)(count, str(folder))
        _wait_for(folder / "begun")
        os.kill(engine_pid(), signal.SIGKILL)
        wait_until_gone(folder)
        (folder / "begun").unlink()

        def recover() -> None:
            client.call("ping")
            _wait_for(folder / "begun")

        taken = seconds(recover)
        (folder / "go").touch()
        assert ct.get_result(dispatch_id, wait=True).result == list(range(count))
    name = f"recovery of {count:,} unfinished electrons: start of the engine until they run"
    return Row(name=name, ours=taken, theirs=_bare(), yardstick="nothing to recover", limit=_LIMIT)


def _bare() -> float:
    """The start of an engine with an empty store."""
    with own_engine():
        return seconds(lambda: client.call("ping"))


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(_LOOK_EVERY)
