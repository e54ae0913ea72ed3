"""A disk that refuses every now and then."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

#: How often, as a part of one; the variable reaches the engine and its workers.
RATE = "QCOV_CHAOS_FAULTS"

_chance = random.Random()
_CODES = {
    "database or disk is full": sqlite3.SQLITE_FULL,
    "disk I/O error": sqlite3.SQLITE_IOERR_FSYNC,
    "attempt to write a readonly database": sqlite3.SQLITE_READONLY,
    "unable to open database file": sqlite3.SQLITE_CANTOPEN,
}


def ordered() -> bool:
    return RATE in os.environ


def _strikes() -> bool:
    return _chance.random() < float(os.environ[RATE])


def perhaps_refuse() -> None:
    """Raise what SQLite raises when it cannot write."""
    if _strikes():
        reason = _chance.choice(list(_CODES))
        error = sqlite3.OperationalError(reason)
        error.sqlite_errorcode = _CODES[reason]
        raise error


def in_engine() -> None:
    from qcov.store import writer

    writer._RETRY_AFTER = 0.005


def in_files() -> None:
    """Let workers' large payloads be refused too."""
    from qcov.classical.engine import worker

    worker._SPACE_AFTER = 0.005
    replace = Path.replace

    def refusing(self: Path, target: Any) -> Path:
        if self.parent.parent.name == "blobs" and _strikes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    Path.replace = refusing  # type: ignore[method-assign]
