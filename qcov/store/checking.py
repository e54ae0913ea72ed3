"""Looks at a store's database, and changes nothing: no file is made, no schema is brought up."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from qcov.errors import StoreUnavailable
from qcov.store.migrations import HEAD, current
from qcov.store.postgresql import PostgreSQL

_STEPS = 100_000  # of SQLite's machine, between two looks at the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """How a database is."""

    name: str
    exists: bool
    schema: str | None = None
    wanted: str = HEAD  #: the schema of this qcov
    damage: str | None = None  #: what its own check has found
    whole: bool = True  #: whether that check came to its end
    ahead: float | None = None  #: seconds by which a server's clock is before ours


def examine(folder: Path, url: str = "", *, seconds: float = 5.0) -> Examined:
    """Look at the database of a data folder; its check of a large one ends after `seconds`.

    Raises:
        StoreUnavailable: it cannot be read or reached.
        ConfigError: the URL is none.
    """
    return _examine_server(url) if url else _examine_file(folder / "qcov.sqlite", seconds)


def _examine_server(url: str) -> Examined:
    database = PostgreSQL(url, owner="doctor")
    try:
        schema = current(database.reading)
        with database.reading.connect() as connection:
            before = time.time()
            now = connection.execute(
                sa.text("SELECT extract(epoch FROM clock_timestamp())")
            ).scalar_one()
            ours = (before + time.time()) / 2
        return Examined(name=database.name, exists=True, schema=schema, ahead=float(now) - ours)
    except DBAPIError as error:
        reason = database.reason(error.orig or error)
        raise StoreUnavailable(path=database.name, reason=reason, advice=database.advice) from error
    finally:
        database.close()


def _examine_file(path: Path, seconds: float) -> Examined:
    if not path.exists():
        return Examined(name=str(path), exists=False)
    try:
        with contextlib.closing(_opened(path)) as connection:
            schema = _schema(connection)
            damage, whole = _checked(connection, seconds)
    except sqlite3.Error as error:
        advice = "Restore the data folder from a copy, or set QCOV_DATA_DIR to another folder."
        raise StoreUnavailable(path=str(path), reason=str(error), advice=advice) from error
    return Examined(name=str(path), exists=True, schema=schema, damage=damage, whole=whole)


def _opened(path: Path) -> sqlite3.Connection:
    """Open it for reading; where no engine has left a journal, without the files that one needs."""
    alone = not path.with_name(f"{path.name}-wal").exists()
    mode = "immutable=1" if alone else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=5.0)


def _schema(connection: sqlite3.Connection) -> str | None:
    known = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.execute(known).fetchone() is None:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


def _checked(connection: sqlite3.Connection, seconds: float) -> tuple[str | None, bool]:
    """What SQLite's quick check has found, and whether it came to its end."""
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None, False
    return (None if said == "ok" else said), True
