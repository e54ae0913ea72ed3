"""Reading what is stored of triggers: which there are, and what each has started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from qcov.errors import TriggerNotFound
from qcov.store.schema import trigger_dispatches as fired
from qcov.store.schema import triggers

if TYPE_CHECKING:
    from qcov.store.asking import Row
    from qcov.store.store import Store

_THEIRS = fired.c.trigger_id == triggers.c.id
_RUNS = sa.select(sa.func.count()).where(_THEIRS).scalar_subquery().label("runs")
_LAST_RUN = sa.select(sa.func.max(fired.c.created)).where(_THEIRS).scalar_subquery()
_SHOWN = (triggers, _RUNS, _LAST_RUN.label("last_run"))


def get_trigger(store: Store, trigger_id: str) -> Row:
    """One trigger, with `runs`, how many it has started, and `last_run`, when.

    Raises `TriggerNotFound`.
    """
    found = store.rows(sa.select(*_SHOWN).where(triggers.c.id == trigger_id))
    if not found:
        raise TriggerNotFound(trigger_id=trigger_id, where=store.where)
    return found[0]


def list_triggers(
    store: Store,
    *,
    limit: int,
    offset: int = 0,
    status: str | None = None,
    dispatch_id: str | None = None,
) -> tuple[list[Row], int]:
    """A window of the triggers, newest first, and how many there are in all."""
    chosen: list[sa.ColumnElement[bool]] = []
    if status:
        chosen.append(triggers.c.status == status)
    if dispatch_id:
        chosen.append(triggers.c.dispatch_id == dispatch_id)
    window = (
        sa.select(*_SHOWN)
        .where(*chosen)
        .order_by(triggers.c.created.desc(), triggers.c.id)
        .limit(limit)
        .offset(offset)
    )
    counted: sa.Select[Any] = sa.select(sa.func.count().label("total"))
    total = store.rows(counted.select_from(triggers).where(*chosen))[0]["total"]
    return store.rows(window), int(total)


def runs_of(store: Store, trigger_id: str, *, limit: int | None, offset: int = 0) -> list[Row]:
    """The dispatches that a trigger has started, oldest first: `dispatch_id` and `created`.

    Those that have been removed since are not among them.
    """
    query = sa.select(fired.c.dispatch_id, fired.c.created)
    chosen = query.where(fired.c.trigger_id == trigger_id)
    ordered = chosen.order_by(fired.c.created, fired.c.dispatch_id)
    return store.rows(ordered.limit(limit).offset(offset))
