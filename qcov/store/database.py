"""The database behind a store: a file of SQLite's, or a PostgreSQL server.

All that differs between the two is behind this one seam. A server is named by a URL
(`workflow_data.db_url`), whose password is never shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from qcov.store.folder import identity
from qcov.store.sqlite import SQLite


class Database(Protocol):
    """Where the tables are."""

    name: str  #: for people: where it is, without a password
    shared: bool  #: whether several engines write to it at the same time
    reading: sa.Engine
    writing: sa.Engine
    dialect: sa.Dialect  #: for statements that go to the driver itself
    begin: str  #: begins a transaction that writes

    def insert(self, table: sa.Table) -> Any:
        """The dialect's `INSERT`, which knows `ON CONFLICT`."""
        ...

    def connect(self) -> Any:
        """A connection of the driver's own, for the writer: SQLAlchemy's handling costs more."""
        ...

    def in_transaction(self, connection: Any) -> bool:
        """True if a transaction of this connection has begun and not ended."""
        ...

    def mark(self, cursor: Any) -> object:
        """Mark the transaction that has begun; returns what `committed` knows it by."""
        ...

    def committed(self, mark: object) -> bool:
        """Whether the transaction was committed, if it was the last one to be marked.

        Raises what `passes` while that cannot be known.
        """
        ...

    def broken(self, connection: Any) -> bool:
        """True if the connection is of no more use."""
        ...

    def passes(self, error: BaseException) -> bool:
        """True if somebody can mend what was wrong (a full disk, a server that is away)."""
        ...

    def gave_way(self, error: BaseException) -> bool:
        """True if the transaction was ended for another one, and may be tried again at once."""
        ...

    def reason(self, error: BaseException) -> str:
        """What the database said was wrong."""
        ...

    def others(self) -> set[str]:
        """Engines of other data folders that have it open, by their names."""
        ...

    @property
    def advice(self) -> str:
        """What to do if it cannot be used."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_database(folder: Path, url: str = "") -> Database:
    """The database at a URL; without one, the file in a data folder.

    Raises `StoreUnavailable` for a URL that no database is behind, or whose driver is missing.
    """
    if not url:
        return SQLite(folder)
    from qcov.store.postgresql import PostgreSQL

    return PostgreSQL(url, owner=identity(folder))
