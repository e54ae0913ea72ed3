"""Bringing a database to the schema of this qcov (Alembic).

The common case, a database that is up to date, is decided by one query, without Alembic.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from qcov.errors import SchemaMismatch

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest revision in `versions`.
HEAD = "0004"

#: One engine at a time brings a shared database up to date; the number is nobody else's.
_LOCK = 0x71636F76


def current(engine: sa.Engine) -> str | None:
    """The revision that a database is at; None for an empty one."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def migrate(engine: sa.Engine, path: str) -> None:
    """Upgrade the database to `HEAD`; refuse one that a newer qcov has made."""
    found = current(engine)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise SchemaMismatch(path=path, found=found, known=HEAD)
    from alembic import command

    with engine.begin() as connection:
        lift_limits(connection)
        if engine.dialect.name == "postgresql":  # until the end of the transaction
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        command.upgrade(configuration(connection), "head")


def lift_limits(connection: sa.Connection) -> None:
    """Let the transaction that has begun take as long as it needs."""
    if connection.dialect.name == "postgresql":
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(sa.text(f"SET LOCAL {name} = 0"))


def configuration(connection: sa.Connection) -> Config:
    """Alembic's configuration, for a connection whose transaction has begun."""
    from alembic.config import Config

    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
