"""Reading for the page of executors: circuits in the order they were stored, electrons by executor.

Circuits are read on from where the last reading ended, so a million of them are read once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from qcov.store.asking import Asking, Row
from qcov.store.changes import TERMINAL
from qcov.store.schema import circuits, dispatches, nodes
from qcov.wire import unpack

_COLUMNS = (
    circuits.c.number,
    circuits.c.executor,
    circuits.c.device,
    circuits.c.execution_time,
    circuits.c.record,
)
_LATEST = 20_000  # electrons whose lengths are looked at


def circuits_after(store: Asking, number: int, limit: int) -> list[Row]:
    """The circuits after the one with this number, with what of their records is counted."""
    query = sa.select(*_COLUMNS).where(circuits.c.number > number)
    rows = store.rows(query.order_by(circuits.c.number).limit(limit))
    return [{**row, "record": unpack(row["record"])} for row in rows]


def electrons_by_executor(store: Asking, since: float) -> list[Row]:
    """How many electrons stand how, by executor, of dispatches that were made since then.

    Those that never began in a dispatch that has ended are NOT_RUN.
    """
    never = nodes.c.status.in_(("NEW_OBJECT", "PENDING")) & dispatches.c.status.in_(TERMINAL)
    status = sa.case((never, sa.literal_column("'NOT_RUN'", sa.Text)), else_=nodes.c.status)
    return store.rows(
        sa.select(nodes.c.executor, status.label("status"), sa.func.count().label("count"))
        .join(dispatches, dispatches.c.id == nodes.c.dispatch_id)
        .where(dispatches.c.created >= since, nodes.c.kind == "electron")
        .where(nodes.c.executor.is_not(None))
        .group_by(nodes.c.executor, status)
    )


def electron_lengths(store: Asking, since: float) -> list[tuple[str, float]]:
    """Executor and seconds of the latest electrons that have ended."""
    seconds: sa.ColumnElement[Any] = nodes.c.ended - nodes.c.started
    latest = (
        sa.select(dispatches.c.id)
        .where(dispatches.c.created >= since)
        .order_by(dispatches.c.created.desc())
        .limit(_LATEST)
        .subquery()
    )
    query = (
        sa.select(nodes.c.executor, seconds.label("seconds"))
        .join(latest, latest.c.id == nodes.c.dispatch_id)
        .where(nodes.c.kind == "electron", nodes.c.executor.is_not(None))
        .where(nodes.c.started.is_not(None), nodes.c.ended.is_not(None))
        .order_by(nodes.c.ended.desc(), nodes.c.dispatch_id, nodes.c.node_id)
        .limit(_LATEST)
    )
    return [(row["executor"], row["seconds"]) for row in store.rows(query)]


def circuits_by_dispatch(store: Asking, roots: Collection[str]) -> list[Row]:
    """How many circuits dispatches have run: `root_id`, `id`, `count`, for those that ran any.

    Args:
        store: Where they are.
        roots: Of these dispatches and their sublattices; a window of a list.
    """
    return store.rows(
        sa.select(dispatches.c.root_id, dispatches.c.id, sa.func.count().label("count"))
        .select_from(dispatches.join(circuits, circuits.c.dispatch_id == dispatches.c.id))
        .where(dispatches.c.root_id.in_(roots))
        .group_by(dispatches.c.root_id, dispatches.c.id)
    )
