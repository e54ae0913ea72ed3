"""A store's database as a file of SQLite's, in WAL mode: one process writes, all threads read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite

from qcov import private_file

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=8192",  # pages: copying back is work that can wait for a longer stretch
)

# KiB of the database that a connection keeps in memory. The writer has its indexes there; there are
# several readers, and the system keeps what they have read.
_WRITING, _READING = 32_768, 4_096

#: What the disk's owner can mend (https://www.sqlite.org/rescode.html).
_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)


class SQLite:
    """The file `qcov.sqlite` of a data folder; see `database.Database`."""

    shared = False
    dialect: sa.Dialect = sqlite.dialect(paramstyle="named")
    begin = "BEGIN IMMEDIATE"
    advice = "Free some space, restore its files, or set QCOV_DATA_DIR to another folder."

    def __init__(self, folder: Path) -> None:
        path = folder / "qcov.sqlite"
        self.name = str(path)
        private_file.touch(path).close()  # SQLite gives its other files the same mode
        self.writing = _engine(path, cache=_WRITING)
        event.listen(self.writing, "begin", self._begin)
        # each question stands alone, and to begin for it takes as long as most of them
        self.reading = _engine(path, cache=_READING, isolation_level="AUTOCOMMIT")
        self._pooled: list[sa.PoolProxiedConnection] = []

    def _begin(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(self.begin)

    def insert(self, table: sa.Table) -> Any:
        """The dialect's `INSERT`, which knows `ON CONFLICT`."""
        return sqlite.insert(table)

    def connect(self) -> sqlite3.Connection:
        """The driver's own: SQLAlchemy's way of beginning and ending costs more than a commit."""
        pooled = self.writing.raw_connection()
        self._pooled.append(pooled)
        return cast("sqlite3.Connection", pooled.driver_connection)

    def in_transaction(self, connection: Any) -> bool:
        """True if a transaction has begun and not ended."""
        return connection.in_transaction

    def mark(self, cursor: Any) -> None:
        """Nothing: what became of a transaction is always heard of."""

    def committed(self, mark: object) -> bool:  # noqa: ARG002  # see `mark`
        """False: it is only asked of a connection that was lost."""
        return False

    def broken(self, connection: Any) -> bool:  # noqa: ARG002  # a server's connection may be
        """Never: there is no connection that could be lost."""
        return False

    def passes(self, error: BaseException) -> bool:
        """True if the disk refused, not the database."""
        code = getattr(error, "sqlite_errorcode", 0)
        return isinstance(error, sqlite3.OperationalError) and code & 0xFF in _PASSING

    def gave_way(self, error: BaseException) -> bool:  # noqa: ARG002  # a server's may
        """Never: there is one writer."""
        return False

    def reason(self, error: BaseException) -> str:
        """What SQLite said."""
        return str(error)

    def others(self) -> set[str]:
        """None: it belongs to the data folder, which one engine has at a time."""
        return set()

    def close(self) -> None:
        """Close all connections."""
        for pooled in self._pooled:
            pooled.close()
        self.writing.dispose()
        self.reading.dispose()


def _engine(path: Path, *, cache: int, **options: Any) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30.0}, **options)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        for pragma in (*_PRAGMAS, f"cache_size=-{cache}"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
