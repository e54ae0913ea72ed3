"""Bytes by key in a file that processes share and that survives them: what need not be made twice.

The file is SQLite's, for processes read and write it at the same time. It may be deleted at any
time: then a new one is made. Whoever uses it goes on without it if it fails.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from qcov import private_file

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL
)
"""
_PATIENCE = 5.0  # seconds that one process waits for another's write
_LOOK_EVERY = 64  # writes between two looks at the size
_FULL = 0.9  # of the limit that is left when entries are dropped


class CacheFile:
    """Bytes by key. Threads and processes may share it; the oldest entries go when it is full.

    Args:
        path: Where the file is; it is made with its folder, mode 0600, on first use.
        size_limit: Bytes of keys and values that it may hold.

    Every method raises `OSError` or `sqlite3.Error` if the file cannot be used.
    """

    def __init__(self, path: Path, size_limit: int) -> None:
        self.path, self.size_limit = path, size_limit
        self._connection: sqlite3.Connection | None = None
        self.forget()
        _open_files.add(self)

    def forget(self) -> sqlite3.Connection | None:
        """Give up the connection, as a child must that was forked off; nothing is closed."""
        connection, self._connection = self._connection, None
        self._identity: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._writes = 0
        return connection

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        with self._lock:
            row = self._open().execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Add entries; a key that is there keeps its value."""
        with self._lock:
            connection = self._open()
            with connection:
                connection.executemany(
                    "INSERT INTO entries (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING", entries
                )
            if self._writes % _LOOK_EVERY == 0:
                self._make_room(connection)
            self._writes += 1

    def clear(self) -> None:
        """Drop all entries."""
        with self._lock:
            connection = self._open()
            with connection:
                connection.execute("DELETE FROM entries")
            connection.execute("VACUUM")

    def __len__(self) -> int:
        with self._lock:
            return self._open().execute("SELECT count(*) FROM entries").fetchone()[0]

    def close(self) -> None:
        """Close the file; it opens again when it is used."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity != _identity(self.path):
            with suppress(sqlite3.Error):  # SQLite itself leaves a file alone that is not its own
                self._connection.close()
            self._connection = None
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private_file.touch(self.path).close()
            self._connection = _connect(self.path)
            weakref.finalize(self, _close_own, self._connection, os.getpid())
            self._identity = _identity(self.path)
        return self._connection

    def _make_room(self, connection: sqlite3.Connection) -> None:
        pages, free, page_size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        excess = (pages - free) * page_size - self.size_limit
        if excess <= 0:
            return
        excess += self.size_limit * (1 - _FULL)
        last = 0
        query = "SELECT number, length(key) + length(value) FROM entries ORDER BY number"
        with closing(connection.execute(query)) as oldest:
            for number, size in oldest:
                last, excess = number, excess - size
                if excess <= 0:
                    break
        with connection:
            connection.execute("DELETE FROM entries WHERE number <= ?", (last,))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
    try:
        # A write that a power cut takes back is made again; the file itself stays whole.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _close_own(connection: sqlite3.Connection, process: int) -> None:
    if process == os.getpid():  # else it belongs to the parent of this one
        connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at a path from another one that takes its place; None if none is."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


_open_files: WeakSet[CacheFile] = WeakSet()
_inherited: list[Any] = []  # connections that belong to the parent process: never closed here


def _forget_parent() -> None:
    _inherited.extend([file.forget() for file in _open_files])


os.register_at_fork(after_in_child=_forget_parent)
