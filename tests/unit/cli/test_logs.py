from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qcov.config import get_config
from qcov.logs import NAME

if TYPE_CHECKING:
    from conftest import Run


@pytest.fixture
def written() -> Path:
    """A log of a server that is stopped."""
    path = Path(get_config("dispatcher.log_dir")) / NAME
    path.parent.mkdir(parents=True)
    lines = [
        {"time": 1.0, "level": "info", "logger": "a", "message": "small", "dispatch": "abcd-1"},
        {"time": 2.0, "level": "error", "logger": "a", "message": "\x1b[31mbad", "error": "V: no"},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_the_last_lines(run: Run, written: Path) -> None:
    said = run("logs").out
    assert "[abcd-1]: small" in said
    assert said.index("small") < said.index("bad")
    assert "\x1b" not in said
    assert "V: no" in said
    assert "small" not in run("logs", "-n", "1").out
    assert "small" not in run("logs", "--level", "warning").out
    assert "bad" not in run("logs", "--dispatch", "ab").out
    assert json.loads(run("logs", "--json", "-n1").out)["error"] == "V: no"


def test_a_level_that_nobody_knows(run: Run) -> None:
    assert run("logs", "--level", "loud").code == 2


def test_following(written: Path) -> None:
    """The lines that come later, until Ctrl-C."""
    following = subprocess.Popen(
        [sys.executable, "-m", "qcov", "logs", "-f", "--json"],
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert following.stdout is not None
    assert json.loads(following.stdout.readline())["message"] == "small"
    following.stdout.readline()
    with written.open("a") as file:
        file.write('{"time": 3.0, "level": "info", "message": "late"}\n')
    assert json.loads(following.stdout.readline())["message"] == "late"
    following.terminate()
    following.wait()
    following.stdout.close()


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments", [("logs", "-n", "9000"), ("logs", "-n", "9000", "--json"), ("logs", "-f")]
)
def test_it_ends_as_a_shell_tells_where_nobody_reads_any_more(
    written: Path, arguments: tuple[str, ...]
) -> None:
    line = {"time": 3.0, "level": "info", "logger": "a", "message": "m" * 200}
    with written.open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for _ in range(8000))
    command = [sys.executable, "-m", "qcov", *arguments]
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        with written.open("a") as file:
            file.write(f"{json.dumps(line)}\n")
        assert process.wait(30) == 141
        assert process.stderr.read() == b""
