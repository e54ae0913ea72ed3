"""The zygote: it ends with its engine, whatever it is doing."""

from __future__ import annotations

import os
import socket

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
