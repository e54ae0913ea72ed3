"""Other engines, with the same work in the same run.

Each runs in a process of its own, by an interpreter that may be another one: their dependencies and
qcov's need not agree (Covalent's cannot). Its start is not measured. Its module here stands alone:
`serve.py` loads it by its path, and neither needs qcov.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qcov_bench.rows import LeftOut, Row, in_turns, seconds
from qcov_bench.workflows import run_chain, run_fan, run_one

_FOLDER = Path(__file__).parent
_PATIENCE = 300  # seconds for a start, or for one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another engine, and how much work it is given: some take long."""

    name: str
    module: str
    package: str
    durable: bool
    fan: int = 1_000
    chain: int = 100
    repeats: int = 5
    ones: int = 51  #: how often one task is run


PEERS = (
    Peer(name="Dask distributed", module="dask_cluster", package="distributed", durable=False),
    Peer(name="Ray", module="ray_tasks", package="ray", durable=False),
    Peer(name="Parsl HTEX", module="parsl_htex", package="parsl", durable=False),
    Peer(name="huey, SQLite", module="huey_queue", package="huey", durable=True),
    Peer(name="DBOS, SQLite", module="dbos_steps", package="dbos", durable=True, fan=200),
    Peer(
        name="Prefect", module="prefect_flow", package="prefect", durable=False,
        fan=200, chain=50, repeats=3, ones=5,
    ),
    Peer(
        name="Covalent", module="covalent_server", package="covalent", durable=False,
        fan=50, chain=20, repeats=3, ones=5,
    ),
)  # fmt: skip


class _Ended(Exception):
    """The peer has ended, or does not answer."""


def beside(peer: Peer, *, pythons: Sequence[str] = ()) -> Iterator[Row | LeftOut]:
    """Qcov's rows beside those of one peer, warm, on an engine that is warm.

    Args:
        peer: The other engine.
        pythons: Interpreters, of which the first that has it runs it; this one comes last.
    """
    python = next((one for one in (*pythons, sys.executable) if _has(one, peer.package)), None)
    if python is None:
        yield LeftOut(name=peer.name, reason=f"not installed (pip install {peer.package})")
        return
    try:
        with _started(peer, python) as asked:
            asked("fan", peer.fan)
            yield from _rows(peer, asked)
    except _Ended as error:
        yield LeftOut(name=peer.name, reason=str(error))


def _has(python: str, package: str) -> bool:
    code = f"import sys, importlib.util as u; sys.exit(u.find_spec({package!r}) is None)"
    return subprocess.run([python, "-P", "-c", code], env=_variables(python)).returncode == 0


def _rows(peer: Peer, asked: _Asked) -> Iterator[Row]:
    row, repeats = partial(_row, peer, asked), peer.repeats
    fan, chain = partial(run_fan, peer.fan), partial(run_chain, peer.chain)
    many, links = f"{peer.fan:,} independent tasks", f"a chain of {peer.chain} tasks"
    yield row(many, fan, work="fan", size=peer.fan, repeats=repeats, ratio=1.0)
    yield row(links, chain, work="chain", size=peer.chain, repeats=repeats)
    yield row("one task, to its result", run_one, work="fan", size=1, repeats=peer.ones)


def _row(
    peer: Peer,
    asked: _Asked,
    name: str,
    ours: Callable[[], None],
    *,
    work: str,
    size: int,
    repeats: int,
    ratio: float | None = None,
) -> Row:
    measures = {"ours": partial(seconds, ours), "theirs": partial(asked, work, size)}
    taken = in_turns(measures, repeats=repeats)
    yardstick = f"{peer.name} {asked.version}, {'durable' if peer.durable else 'not durable'}"
    return Row(**taken, name=name, yardstick=yardstick, ratio=ratio, count=size)


class _Asked:
    """A peer that has been started; called with work and its size, it says how long that took."""

    def __init__(self, process: subprocess.Popen[str], peer: Peer, log: Path) -> None:
        self._process, self._peer, self._log = process, peer, log
        self.version: str = self._answer()["version"]

    def __call__(self, work: str, size: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{work} {size}\n")
        self._process.stdin.flush()
        return self._answer()["seconds"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        line = self._process.stdout.readline() if readable else ""
        if not line:
            said = self._log.read_text(errors="replace").strip().splitlines()
            reason = f"it ended: {said[-1]}" if said else "it ended"
            raise _Ended(reason if readable else f"no answer in {_PATIENCE} s")
        return json.loads(line)


@contextmanager
def _started(peer: Peer, python: str) -> Iterator[_Asked]:
    """Start a peer, in a folder of its own; what it has started ends with it."""
    with tempfile.TemporaryDirectory(prefix="qcov-bench-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [python, "-P", str(_FOLDER / "serve.py"), peer.module, peer.package],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                cwd=folder, env=_variables(python) | {"HOME": folder, "TMPDIR": folder},
                start_new_session=True,
            )  # fmt: skip
        try:
            yield _Asked(process, peer, log)
            assert process.stdin is not None
            process.stdin.close()  # it ends by itself
            process.wait(60)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its group holds what it has started
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def _variables(python: str) -> dict[str, str]:
    """Its own commands come first; what is said of our Python is not said of its."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for name in ("VIRTUAL_ENV", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        kept.pop(name, None)
    return kept | {"PATH": f"{Path(python).parent}{os.pathsep}{kept['PATH']}"}
