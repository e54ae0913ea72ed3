"""What the pages' routes share: the store, and windows of long lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from qcov.classical.status import node_status
from qcov_server.engine import Row
from qcov_server.ui.present import lasted

PageNumber = Annotated[int, Query(ge=1, le=10**7)]


class Asked(BaseModel):
    """What of a list is wanted. Statuses and orders that nobody knows are as if not given."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    status: str = Field(default="", max_length=16)
    search: str = Field(default="", max_length=200)
    sort: str = Field(default="", max_length=16)
    page: int = Field(default=1, ge=1, le=10**7)

    def sorted_by(self, orders: tuple[str, ...], default: str) -> str:
        """The order that was asked for, if it is one of those."""
        known = self.sort.removeprefix("-") in orders and not self.sort.startswith("--")
        return self.sort if known else default


def timed(row: Row) -> Mapping[str, Any]:
    """A row with the `seconds` that it took, or takes until now."""
    return {**row, "seconds": lasted(row["started"], row["ended"])}


def as_shown(rows: Sequence[Row], dispatch: Row) -> list[Row]:
    """Nodes of a dispatch, those that never began and never will with a status of their own."""
    return [{**row, "status": node_status(row["status"], dispatch["status"])} for row in rows]


def window(page: int, size: int, total: int) -> dict[str, int | None]:
    """Which part of a list is shown, and where the parts beside it are."""
    return {
        "page": page,
        "first": min((page - 1) * size + 1, total),
        "last": min(page * size, total),
        "total": total,
        "previous": page - 1 if page > 1 else None,
        "next": page + 1 if page * size < total else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads of a table's columns, which are links that sort it.

    Args:
        address: Where the list is, without a query.
        query: What the list is filtered by.
        sort: What it is sorted by; a minus before it says that the largest come first.
        part: Where the list alone is, if not at the same address.
        first: Columns whose largest values people want to see first.
    """

    address: str
    query: Mapping[str, str]
    sort: str
    part: str = ""
    first: tuple[str, ...] = ("created", "started", "duration")

    def link(self, column: str) -> str:
        """The address of the list sorted by a column; the other way round if it is already."""
        return self.address_of(sort=self._next(column))

    def part_link(self, column: str) -> str:
        """The same for the list alone."""
        return self._part_of(self.link(column))

    def direction(self, column: str) -> str:
        """The value of `aria-sort`; empty for a column that the list is not sorted by."""
        if not self._is(column):
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"

    def address_of(self, **more: str) -> str:
        """The address of the list with this in its query besides."""
        query = {"sort": self.sort, **self.query, **more}
        return f"{self.address}?{urlencode({name: text for name, text in query.items() if text})}"

    def page(self, number: int) -> str:
        """The address of a page of the list."""
        return f"{self.address_of()}&page={number}"

    def part_page(self, number: int) -> str:
        """The same for the list alone."""
        return self._part_of(self.page(number))

    def _next(self, column: str) -> str:
        rises = self.sort.startswith("-") if self._is(column) else column not in self.first
        return column if rises else f"-{column}"

    def _part_of(self, address: str) -> str:
        return (self.part or self.address) + address.removeprefix(self.address)

    def _is(self, column: str) -> bool:
        return self.sort.removeprefix("-") == column
