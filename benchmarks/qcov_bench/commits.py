"""What the disk takes of durability: commits of SQLite that are flushed, by themselves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_ROW = "x" * 500  # characters, about what an electron's outcome takes


@contextmanager
def committing() -> Iterator[Callable[[int], None]]:
    """What commits so many small transactions, one after the other, on the engine's disk."""
    path = Path(os.environ["QCOV_DATA_DIR"], "commits.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS outcome (text TEXT)")

        def commit(count: int) -> None:
            for _ in range(count):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO outcome VALUES (?)", (_ROW,))
                connection.execute("COMMIT")

        yield commit
