"""What happened in a round, in the order in which it happened.

Electrons, the engine's writer and the test append lines to one file; the kernel puts them in order.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

#: Where a round's files are; the variable reaches the engine, its workers and their electrons.
FOLDER = "QCOV_CHAOS"


def folder() -> Path:
    return Path(os.environ[FOLDER])


def note(*entry: Any) -> None:
    """Append an entry: what happened, and to which object."""
    line = json.dumps(entry).encode() + b"\n"
    descriptor = os.open(folder() / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)  # one call: whole or not at all
    finally:
        os.close(descriptor)


def entries(path: Path) -> list[list[Any]]:
    """All that was noted."""
    try:
        lines = path.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be under way
