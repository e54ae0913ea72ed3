"""What of dispatches and nodes is listed, and in which order: filters and sorting as conditions.

Values travel as bound parameters only, and the columns to sort by are those of a table here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from qcov.store.schema import dispatches, nodes, trigger_dispatches

Condition = sa.ColumnElement[bool]
Order = sa.ColumnElement[Any]

#: What lists can be sorted by. A minus before it turns the order round.
DISPATCH_ORDERS = ("created", "name", "status", "started", "ended", "duration")
NODE_ORDERS = ("node_id", "name", "status", "started", "ended", "duration")


def dispatch_conditions(
    *,
    status: str | Sequence[str] | None,
    search: str | None,
    root_only: bool,
    created_after: float | None,
    created_before: float | None,
    name: str | None = None,
    triggered: bool | None = None,
) -> list[Condition]:
    """Which dispatches are listed."""
    found = _in(dispatches.c.status, status)
    if search:
        named = dispatches.c.name.icontains(search, autoescape=True)
        found.append(named | dispatches.c.id.istartswith(search, autoescape=True))
    if name is not None:
        found.append(dispatches.c.name == name)
    if triggered is not None:
        by_triggers = dispatches.c.id.in_(sa.select(trigger_dispatches.c.dispatch_id))
        found.append(by_triggers if triggered else sa.not_(by_triggers))
    if root_only:
        found.append(dispatches.c.parent_id.is_(None))
    if created_after is not None:
        found.append(dispatches.c.created >= created_after)
    if created_before is not None:
        found.append(dispatches.c.created < created_before)
    return found


def node_conditions(
    dispatch_id: str, *, status: str | Sequence[str] | None, kind: str | None, search: str | None
) -> list[Condition]:
    """Which nodes of a dispatch are listed."""
    found = [nodes.c.dispatch_id == dispatch_id, *_in(nodes.c.status, status)]
    if kind:
        found.append(nodes.c.kind == kind)
    if search:
        found.append(nodes.c.name.icontains(search, autoescape=True))
    return found


def dispatch_order(sort: str) -> list[Order]:
    """The order of a list of dispatches; equals stand by their ids, so that windows fit together.

    Raises:
        KeyError: it cannot be sorted by that.
    """
    table = dispatches.c
    columns: Mapping[str, Order] = {
        "created": table.created,
        "name": sa.func.lower(table.name),
        "status": table.status,
        "started": table.started,
        "ended": table.ended,
        "duration": _duration(table.started, table.ended),
    }
    return [_directed(columns, sort), _same_way(sort, table.id)]


def node_order(sort: str) -> list[Order]:
    """The order of a list of nodes; raises as `dispatch_order`."""
    table = nodes.c
    columns: Mapping[str, Order] = {
        "node_id": table.node_id,
        "name": sa.func.lower(table.name),
        "status": table.status,
        "started": table.started,
        "ended": table.ended,
        "duration": _duration(table.started, table.ended),
    }
    return [_directed(columns, sort), _same_way(sort, table.node_id)]


def _in(column: sa.Column[str], status: str | Sequence[str] | None) -> list[Condition]:
    if not status:
        return []
    return [column == status] if isinstance(status, str) else [column.in_(status)]


def _duration(started: sa.Column[float], ended: sa.Column[float]) -> Order:
    return sa.func.coalesce(ended, time.time()) - started


def _directed(columns: Mapping[str, Order], sort: str) -> Order:
    column = columns[sort.removeprefix("-")]
    # What has not begun or ended stands last, whichever way it goes.
    return (column.desc() if sort.startswith("-") else column.asc()).nulls_last()


def _same_way(sort: str, column: Order) -> Order:
    return column.desc() if sort.startswith("-") else column.asc()
