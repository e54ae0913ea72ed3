"""The zygote: it ends with its engine, whatever it is doing, and there is one of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qcov.classical.engine.imported import ImportedModules
from qcov.classical.engine.zygote import Zygote
from qcov.classical.files_read import FilesRead


class Ended(BaseException):
    """In place of the end of this process."""


def test_it_ends_when_nobody_hears_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)
    engine, mine = socket.socketpair()
    with mine:
        zygote = Zygote(mine, ImportedModules(FilesRead()))
        engine.close()
        with pytest.raises(Ended, match="0"):
            zygote._say({"did": "end", "pid": 1, "reason": "it exited"})


def test_a_package_that_forks_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text("import os; pid = os.fork(); pid and os.waitpid(pid, 0)")
    code = "from qcov.classical.engine.zygote import _preload; _preload(['forks']); print('here')"

    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip

    assert (ran.stdout, ran.stderr) == ("here\n", "")
