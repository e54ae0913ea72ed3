"""Circuit records as rows: thousands of them are alike, so nothing is said twice.

What the table has columns for, what is not there, and an only attempt that says nothing new are
left out of a row, and put back when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from qcov.records import CircuitRecord
from qcov.store.schema import circuits
from qcov.wire import pack, unpack

Row = Mapping[str, Any]

_COLUMNS = ("id", "executor", "device", "execution_time", "structure")
_NOTHING: Row = {item.name: None for item in fields(CircuitRecord)} | {"metadata": {}}


def to_row(record: Row, dispatch_id: str, node_id: int) -> dict[str, Any]:
    """The row of a record that a node of a dispatch left."""
    left_out = {*_COLUMNS, "dispatch_id", "node_id", "structure_data"}
    if record.get("attempts") == [_only_attempt(record)]:
        left_out.add("attempts")
    rest = {
        name: value
        for name, value in record.items()
        if name not in left_out and value != _NOTHING.get(name)
    }
    columns = {name: record.get(name) for name in _COLUMNS}
    columns["execution_time"] = columns["execution_time"] or 0.0  # it is sorted by
    columns["status"] = "FAILED" if record.get("error") else "COMPLETED"
    return {"dispatch_id": dispatch_id, "node_id": node_id, "record": pack(rest), **columns}


def from_row(row: Row) -> dict[str, Any]:
    """The record that `to_row` made a row of; `row` has the text of its structure too."""
    columns = {name: row[name] for name in (*_COLUMNS, "dispatch_id", "node_id")}
    record = {**_NOTHING} | unpack(row["record"]) | columns
    record["structure_data"] = row.get("text")
    if record["attempts"] is None:
        record["attempts"] = [_only_attempt(record)]
    return record


def _only_attempt(record: Row) -> dict[str, Any]:
    attempt = {name: record.get(name) for name in ("executor", "started", "finished", "error")}
    return {**attempt, "number": 1, "job_id": record.get("job_id")}


# -- lists -------------------------------------------------------------------------------------

Sort = Literal["number", "execution_time"]
#: Where a window ends: a circuit's value of what is sorted by, and its number.
Place = tuple[float, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which circuits of a dispatch a list has, and in which order.

    Args:
        dispatch_id: The dispatch; its sublattices' circuits are their own.
        node_id: Only those of this node.
        executor: Only those of the executors with this name.
        status: Only those that are COMPLETED, or FAILED.
        sort: By the order in which they ended, or by the time that they took.
        descending: The last ones, or the longest, first.
    """

    dispatch_id: str
    node_id: int | None = None
    executor: str | None = None
    status: Literal["COMPLETED", "FAILED"] | None = None
    sort: Sort = "number"
    descending: bool = False

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """What holds for them."""
        node, executor = circuits.c.node_id, circuits.c.executor
        found = [circuits.c.dispatch_id == self.dispatch_id]
        failed = circuits.c.status == sa.literal_column("'FAILED'")  # as their index says it
        if self.status == "FAILED":
            found.append(failed)
            node, executor = node + 0, executor.concat("")  # no other index is of use then
        if self.status == "COMPLETED":
            failures = sa.select(circuits.c.number).where(*found, failed)
            found.append(circuits.c.number.not_in(failures.scalar_subquery().correlate(None)))
        if self.node_id is not None:
            found.append(node == self.node_id)
        if self.executor is not None:
            found.append(executor == self.executor)
        return found

    def place(self, row: Row) -> Place:
        """Where this circuit stands in the list."""
        return float(row[self.sort]), int(row["number"])


def window(
    wanted: Wanted,
    *,
    limit: int,
    after: Place | None = None,
    before: Place | None = None,
    few: bool = False,
) -> sa.Select[*tuple[Any, ...]]:
    """The circuits that follow a place in the list, or those before one, in reverse.

    It costs the same wherever the window is: nothing is counted and skipped.

    Args:
        wanted: The list.
        limit: How many at most.
        after: Those after this place.
        before: Those before it, the nearest first; nothing if `after` is given.
        few: Whether few are wanted: then they are sorted, else found by walking in their order.
    """
    columns = [circuits.c.number]
    if wanted.sort != "number":
        columns.insert(0, circuits.c[wanted.sort])
    place = before if after is None else after
    rising = wanted.descending == (after is None and before is not None)
    chosen = sa.select(*columns).where(*wanted.conditions())
    if place is not None:
        here, there = sa.tuple_(*columns), sa.tuple_(*place[-len(columns) :])
        chosen = chosen.where(here > there if rising else here < there)
    order = [column + 0 if few else column for column in columns]
    order = [each.asc() if rising else each.desc() for each in order]
    numbers = chosen.order_by(*order).limit(limit).subquery()  # an index says all of it
    whole = sa.select(circuits).join(numbers, numbers.c.number == circuits.c.number)
    final = [numbers.c[column.name] for column in columns]
    return whole.order_by(*(each.asc() if rising else each.desc() for each in final))
