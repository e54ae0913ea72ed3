"""The list of dispatches: which are chosen, and in which order."""

from __future__ import annotations

import time
from typing import Any, Literal

import sqlalchemy as sa

from qcov.store.schema import dispatches, nodes

Order = Literal["created", "name", "status", "duration"]

NODES_DONE = (
    sa.select(sa.func.count())
    .select_from(nodes)
    .where(nodes.c.status == "COMPLETED", nodes.c.dispatch_id == dispatches.c.id)
    .scalar_subquery()
    .label("nodes_done")
)
#: Dispatches, and how many of their nodes are done.
DISPATCHES_AND_PROGRESS = sa.select(dispatches, NODES_DONE)


def chosen(
    *, status: str | None, search: str | None, root_only: bool, name: str | None = None
) -> list[sa.ColumnElement[bool]]:
    """The conditions of a list.

    Args:
        status: Only those with this status.
        search: Only those with this in their name, or at the start of their id.
        root_only: Leave sublattices out.
        name: Only those of this name.
    """
    conditions: list[sa.ColumnElement[bool]] = []
    if status:
        conditions.append(dispatches.c.status == status)
    if search:
        found = dispatches.c.name.icontains(search, autoescape=True)
        conditions.append(found | dispatches.c.id.istartswith(search, autoescape=True))
    if name is not None:
        conditions.append(dispatches.c.name == name)
    if root_only:
        conditions.append(dispatches.c.parent_id.is_(None))
    return conditions


def window(
    conditions: list[sa.ColumnElement[bool]],
    order: Order,
    *,
    descending: bool,
    limit: int,
    offset: int,
) -> sa.Select[*tuple[Any, ...]]:
    """A part of the list.

    It is sorted by the ids alone: to sort whole rows, with their errors and arguments, takes ten
    times as long.
    """
    ordered = _ordered(order, descending=descending)
    ids = sa.select(dispatches.c.id).where(*conditions).order_by(*ordered)
    few = ids.limit(limit).offset(offset).scalar_subquery()
    return DISPATCHES_AND_PROGRESS.where(dispatches.c.id.in_(few)).order_by(*ordered)


def counted(conditions: list[sa.ColumnElement[bool]]) -> sa.Select[*tuple[Any, ...]]:
    """How long the list is."""
    return sa.select(sa.func.count().label("total")).select_from(dispatches).where(*conditions)


def _ordered(order: Order, *, descending: bool) -> tuple[sa.ColumnElement[Any], ...]:
    """The newest come first among equals."""
    now = sa.literal(time.time(), sa.Float)
    wanted: sa.ColumnElement[Any] = {
        "created": dispatches.c.created,
        "name": sa.func.lower(dispatches.c.name),
        "status": dispatches.c.status,
        "duration": sa.func.coalesce(dispatches.c.ended, now) - dispatches.c.started,
    }[order]
    directed = wanted.desc() if descending else wanted.asc()
    return directed.nulls_last(), dispatches.c.created.desc(), dispatches.c.id
