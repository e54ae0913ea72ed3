"""Every command that tells something tells it as JSON too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

import qcov as ct
from qcov.cli import app

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

#: Their options are those of the programs that they run: of the example and the benchmarks, which
#: have `--json` too, and of Alembic, which has not.
_OTHERS = {"demo", "bench", "db alembic"}

#: How each is called, in an order in which they can be; `{}` is a dispatch that has ended.
_CALLS = (
    "run {script}:flow 1", "ls", "show {}", "watch {}", "result {}", "cancel {}", "redispatch {}",
    "triggers", "jobs", "jobs refresh", "costs", "export {} -o {out}", "config", "doctor", "logs",
    "prune --dry-run", "rm {}", "token list", "token share me", "token revoke me", "token rotate",
    "executor-test qcov.executor:Simulator", "start -p 0 --no-cluster", "status", "restart", "stop",
    "stop", "db migrate", "purge -y",
)  # fmt: skip
#: They need a provider; tests/unit/cli/test_jobs.py calls them.
_ELSEWHERE = {"jobs show", "jobs attach", "jobs cancel", "jobs resolve", "fakeqpu"}
#: It needs a Dask cluster; the tests of clusters call it.
_CLUSTER = {"cluster"}
_LINES = {"logs", "watch"}


@ct.electron
def double(x: int) -> int:
    return 2 * x


@ct.lattice
def flow(x: int) -> int:
    return double(x)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every verb with its name."""
    below = getattr(command, "commands", {})
    for name, each in below.items():
        yield from commands(each, (*path, name))
    if path and (not below or command.invoke_without_command):
        yield " ".join(path), command


_COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_has_the_option(name: str) -> None:
    has = any("--json" in option.opts for option in _COMMANDS[name].params)

    assert has is (name not in _OTHERS)


def test_every_command_is_called_below() -> None:
    called = {name for name in _COMMANDS for call in _CALLS if f"{call} ".startswith(f"{name} ")}

    assert called | _ELSEWHERE | _CLUSTER | _OTHERS == set(_COMMANDS)


@pytest.mark.process
@pytest.mark.slow
def test_what_every_command_tells_can_be_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text("import qcov as ct\nflow = ct.lattice(lambda x: x)\n")
    monkeypatch.setattr("sys.path", [*sys.path])  # `run` puts the script's folder there
    dispatch_id = ct.dispatch_sync(flow)(1).dispatch_id
    for call in _CALLS:
        words = call.format(dispatch_id, script=script, out=tmp_path / "crate.zip").split()

        ran = run(*words, "--json")

        assert ran.code == 0, (call, ran)
        lines = ran.out.splitlines() if words[0] in _LINES else [ran.out]
        assert all(isinstance(json.loads(line), dict | list) for line in lines), call
