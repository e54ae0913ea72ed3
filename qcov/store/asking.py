"""Asking the database of a store; its errors become ours."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Never

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from qcov.errors import StoreUnavailable
from qcov.store.database import Database

Row = dict[str, Any]


class Asking:
    """What has a database.

    Args:
        database: Where rows are.
        where: What people call it.
    """

    def __init__(self, database: Database, where: str) -> None:
        self._database, self.where = database, where

    def rows(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """What a query finds."""
        return self._all(query)

    def _all(self, query: sa.Executable, **parameters: object) -> list[Row]:
        try:
            with self._database.reading.connect() as connection:
                found = connection.execute(query, parameters)
                columns = [str(name) for name in found.keys()]  # noqa: SIM118  # it is no dictionary
                return [dict(zip(columns, row, strict=True)) for row in found]
        except DBAPIError as error:
            self._raise(error)

    def _one(self, query: sa.Executable, **parameters: object) -> Row | None:
        rows = self._all(query, **parameters)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sa.Connection, None, None]:
        try:
            with self._database.writing.begin() as connection:
                yield connection
        except DBAPIError as error:
            self._raise(error)

    def _raise(self, error: DBAPIError) -> Never:
        """Name what somebody can mend; anything else is a defect of ours."""
        if isinstance(error, OperationalError) or self._database.passes(error.orig or error):
            raise self._unavailable(error) from error
        raise error

    def _unavailable(self, error: DBAPIError) -> StoreUnavailable:
        reason = self._database.reason(error.orig or error)
        return StoreUnavailable(path=self.where, reason=reason, advice=self._database.advice)


def in_parts(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Some keys at a time: a database takes only so many in one question."""
    rest = iter(keys)
    while part := list(islice(rest, size)):
        yield part
