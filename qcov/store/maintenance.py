"""What is done to a store's database while no engine has it open."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from qcov.errors import StoreError, StoreUnavailable
from qcov.store.changes import database_time
from qcov.store.database import Database, open_database
from qcov.store.folder import Ownership, prepare_folder
from qcov.store.migrations import HEAD, configuration, current, lift_limits, migrate
from qcov.store.schema import dispatches

#: Commands of Alembic's that change nothing.
_LOOKING = ("branches", "check", "current", "heads", "history", "show")


def upgrade(folder: Path, url: str) -> tuple[str | None, str]:
    """Bring a store's database to the schema of this qcov; return what it had, and what it has.

    Raises `StoreUnavailable` while an engine has it open, `SchemaMismatch` for one of a newer qcov.
    """
    with _opened(folder, url, alone=True) as database:
        found = current(database.writing)
        if found != HEAD:
            _check_unused(database)
        migrate(database.writing, database.name)
        return found, HEAD


def alembic(folder: Path, url: str, arguments: Sequence[str]) -> None:
    """Run Alembic's command line on a store's database."""
    from alembic.config import CommandLine
    from alembic.util import CommandError

    line = CommandLine(prog="qcov db alembic")
    options = line.parser.parse_args(arguments or ["--help"])
    if not hasattr(options, "cmd"):
        line.parser.error("too few arguments")
    command, positional, named = options.cmd
    if command.__name__ == "downgrade":
        raise StoreError(
            "there is no way back from a newer schema: values would be lost. Use a copy of the "
            "database that was made before."
        )
    looking = command.__name__ in _LOOKING
    with _opened(folder, url, alone=not looking) as database:
        if not looking:
            _check_unused(database)
        with database.writing.begin() as opened:
            lift_limits(opened)
            config = configuration(opened)
            config.cmd_opts = options
            try:
                command(
                    config,
                    *[getattr(options, name, None) for name in positional],
                    **{name: getattr(options, name, None) for name in named},
                )
            except CommandError as error:
                raise StoreError(f"alembic: {error}") from error


@contextlib.contextmanager
def _opened(folder: Path, url: str, *, alone: bool) -> Generator[Database, None, None]:
    prepare_folder(folder, url)
    owner = Ownership(folder)
    if alone and not owner.try_to_acquire():
        raise StoreUnavailable(
            path=str(folder),
            reason=f"an engine (process {owner.owner}) has it open",
            advice="It has brought the database up to date when it started; for more, stop it "
            "with `qcov stop`.",
        )
    database = open_database(folder, url)
    try:
        yield database
    except DatabaseError as error:
        reason = database.reason(error.orig or error)
        where = database.name if url else str(folder)
        raise StoreUnavailable(path=where, reason=reason, advice=database.advice) from error
    finally:
        database.close()
        owner.release()


def _check_unused(database: Database) -> None:
    """Refuse while engines of other data folders have it open, or run dispatches there."""
    if owners := database.others() | _running(database):
        raise StoreUnavailable(
            path=database.name,
            reason=f"engines have it open: {', '.join(sorted(owners))}",
            advice="Stop them with `qcov stop`, each in its data folder.",
        )


def _running(database: Database) -> set[str]:
    """Engines that have dispatches there; one may be cut off for a moment."""
    if not database.shared or current(database.writing) is None:
        return set()
    lives = dispatches.c.lease_ends > database_time()
    with database.writing.begin() as connection:
        owners = connection.scalars(sa.select(dispatches.c.owner).where(lives).distinct())
        return {str(owner) for owner in owners}
