"""What is said of an engine whose answer has not come in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from qcov.classical.engine import client
from tests.waiting import until


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command) as started:
        yield psutil.Process(started.pid)
        started.kill()


def overdue(folder: Path, pid: int) -> str:
    (folder / "engine.json").write_text(json.dumps({"socket": "s", "pid": pid}))
    return str(client._overdue(folder))


def test_a_paused_process_is_to_go_on(tmp_path: Path, process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    assert f"kill -CONT {process.pid}" in overdue(tmp_path, process.pid)


def test_a_busy_process_is_left_alone(tmp_path: Path, process: psutil.Process) -> None:
    told = overdue(tmp_path, process.pid)
    assert f"process {process.pid} is busy" in told
    assert "kill" not in told
