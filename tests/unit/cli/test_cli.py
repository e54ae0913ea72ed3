from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import qcov
from qcov.cli.dispatches import node_line
from qcov.cli.output import moment

if TYPE_CHECKING:
    from conftest import Run


VERBS = ("start", "stop", "restart", "status", "ls", "show", "triggers")


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_the_version(run: Run, flag: str) -> None:
    ran = run(flag)

    assert (ran.code, ran.out) == (0, f"qcov {qcov.__version__}\n")


def test_help_lists_the_verbs(run: Run) -> None:
    ran = run("--help")

    assert ran.code == 0
    for verb in (*VERBS, "demo", "bench", "config"):
        assert f" {verb} " in ran.out


def test_python_dash_m_is_the_same() -> None:
    command = [sys.executable, "-m", "qcov", "-v"]
    ran = subprocess.run(command, capture_output=True, text=True)

    assert ran.stdout == f"qcov {qcov.__version__}\n", ran.stderr


def test_without_an_output_it_says_nothing() -> None:
    command = [sys.executable, "-m", "qcov", "--version"]
    ran = subprocess.run(
        ["sh", "-c", f"{' '.join(command)} >&-"], capture_output=True, text=True, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def test_settings_are_shown_and_set(run: Run, tmp_path: Path) -> None:
    assert run("config", "dispatcher.port").out == "48008\n"
    assert run("config", "dispatcher.port", "5000").code == 0
    assert run("config", "dispatcher.port").out == "5000\n"
    assert run("config", "sdk.log_dir", "/var/log/qcov").code == 0
    assert "sdk.log_dir = '/var/log/qcov'" in run("config", "sdk").out
    assert "dispatcher.port = 5000" in run("config").out
    assert json.loads(run("config", "--json").out)["dispatcher"]["port"] == 5000
    assert run("config", "--path").out == f"{tmp_path / 'config' / 'qcov.conf'}\n"


def test_a_list_is_given_as_toml(run: Run) -> None:
    run("config", "executors.ssh.options", '["-a", "-b"]')

    assert json.loads(run("config", "executors.ssh.options", "--json").out) == ["-a", "-b"]
    assert run("config", "executors.ssh.options", "[1").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("config", "dispatcher.prt"), "Did you mean 'port'"),
        (("config", "dispatcher.port", "many"), "must be a port"),
        (("config", "nowhere.x", "1"), "no known section"),
        (("config", "engine.workers", "-1"), "must be a whole number, 0 or more, not -1"),
    ],
)
def test_an_error_is_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ran = run(*arguments)

    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_broken_file_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config" / "qcov.conf"
    file.parent.mkdir()
    file.write_text("[dispatcher]\nport = x\n")

    ran = run("config")

    assert ran.code == 1
    assert f"{file}, line 2" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [("start",), ("restart",), ("ls",), ("show", "x"), ("config",), ("demo", "--bonds", "0.7")],
)
@pytest.mark.parametrize("text", ["[dispatcher\nport = 1\n", "[dispatcher]\nport = 'abc'\n"])
def test_every_verb_tells_of_a_broken_file_in_a_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    file = tmp_path / "config" / "qcov.conf"
    file.parent.mkdir()
    file.write_text(text)

    ran = run(*arguments)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith(f"error: {file}, line ")
    assert "Traceback" not in ran.err


def test_times_are_local_and_say_how_far_from_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        told = moment(0.0)
    time.tzset()

    assert told == "1970-01-01 05:30:00+05:30"


@pytest.mark.parametrize(
    "arguments",
    [
        *(("start", "--port", "x"), ("start", "--nope"), ("ls", "-s", "odd"), ("nope",)),
        *(("config", ""), ("config", "", "1"), ("show", "")),
    ],
)
def test_a_wrong_command_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_nothing_runs_and_nothing_is_started_by_asking(run: Run, data_folder: Path) -> None:
    assert run("status").out == "qcov is stopped.\n"
    assert json.loads(run("status", "--json").out)["status"] == "stopped"
    assert run("stop").out == "qcov is not running.\n"
    assert not (data_folder / "engine.json").exists()


def test_the_command_line_loads_no_server_and_no_pennylane() -> None:
    code = (
        "import sys, qcov.cli;"
        "print([m for m in ('fastapi', 'uvicorn', 'sqlalchemy', 'pennylane') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ran.stdout == "[]\n", ran.stderr


@pytest.mark.parametrize(
    ("dispatch_status", "told"), [("RUNNING", "NEW_OBJECT"), ("FAILED", "NOT_RUN")]
)
def test_a_node_that_never_began_says_so(dispatch_status: str, told: str) -> None:
    node = {
        "node_id": 1, "name": "f", "kind": "electron", "status": "NEW_OBJECT", "error": None,
        "value_repr": None, "reused_from": None, "started": None, "ended": None,
    }  # fmt: skip
    assert str(node_line(node, dispatch_status)[3]) == told
