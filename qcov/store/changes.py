"""What can be written: every statement that changes the store.

Changes are collected per statement, and many callers' changes are committed together. Within a
transaction the statements run in the order of `STATEMENTS`, whoever asked first; their conditions
make that safe: a terminal state never changes, and a node's change names the attempt that it is
about.

An update takes `of_...` to say which row, and `new_...` for each column that it sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.sql.expression import ClauseElement

from qcov.store.schema import (
    blobs,
    circuits,
    dispatches,
    memo,
    nodes,
    structures,
    trigger_dispatches,
    triggers,
)

#: Rows per statement name: the unit that is committed or refused as a whole.
Changes = dict[str, list[Mapping[str, Any]]]

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")


_RESULT = ("result", "result_seal", "result_repr")
_LATER = ("stdout", "stderr", "sub_dispatch_id", "output_key", "reused_from")


def _insert(table: sa.Table, left_out: tuple[str, ...] = ()) -> Insert:
    columns = [column.name for column in table.columns if column.name not in left_out]
    return insert(table).values({column: bindparam(column) for column in columns})


def _replace(table: sa.Table, key: str) -> Insert:
    made = _insert(table)
    rest = {column.name: made.excluded[column.name] for column in table.columns}
    del rest[key]
    return made.on_conflict_do_update(index_elements=[key], set_=rest)


def _open(status: sa.Column[str]) -> sa.ColumnElement[bool]:
    return sa.and_(*(status != sa.literal_column(f"'{state}'") for state in TERMINAL))


def _dispatch_update(*columns: str) -> ClauseElement:
    return (
        sa.update(dispatches)
        .where(dispatches.c.id == bindparam("of_dispatch"), _open(dispatches.c.status))
        .values({column: bindparam(f"new_{column}") for column in columns})
    )


def _node_update(
    *columns: str, appended: tuple[str, ...] = (), kept: tuple[str, ...] = ()
) -> ClauseElement:
    """Set columns; append to the `appended` ones; leave the `kept` ones if nothing new is known."""
    empty: sa.ColumnElement[str] = sa.literal_column("''", sa.Text)
    more: dict[str, Any] = {
        column: sa.func.coalesce(
            bindparam(f"new_{column}", type_=nodes.c[column].type), nodes.c[column]
        )
        for column in kept
    }
    more |= {
        column: sa.func.coalesce(nodes.c[column], empty)
        + sa.func.coalesce(bindparam(f"new_{column}", type_=sa.Text), empty)
        for column in appended
    }
    return (
        sa.update(nodes)
        .where(
            nodes.c.dispatch_id == bindparam("of_dispatch"),
            nodes.c.node_id == bindparam("of_node"),
            nodes.c.attempt == bindparam("of_attempt"),
            _open(nodes.c.status),
        )
        .values({**more, **{column: bindparam(f"new_{column}") for column in columns}})
    )


STATEMENTS: dict[str, ClauseElement] = {
    # first: what is inserted in the same transaction was asked for later, and stays
    "dispatch_pruned": (
        sa.delete(dispatches).where(
            dispatches.c.id == bindparam("of_dispatch"), sa.not_(_open(dispatches.c.status))
        )
    ),
    "trigger_pruned": (
        sa.delete(triggers).where(
            triggers.c.dispatch_id == bindparam("of_dispatch"),
            triggers.c.status != sa.literal_column("'ACTIVE'"),
        )
    ),
    # what triggers have started that is not here any more, or is another engine's
    "fired_pruned": (
        sa.delete(trigger_dispatches).where(
            trigger_dispatches.c.created < bindparam("of_time"),
            trigger_dispatches.c.dispatch_id.not_in(sa.select(dispatches.c.id)),
        )
    ),
    "memo_pruned": sa.delete(memo).where(memo.c.created < bindparam("of_time")),
    "structures_pruned": (
        sa.delete(structures).where(
            structures.c.key.not_in(
                sa.select(circuits.c.structure).where(circuits.c.structure.is_not(None))
            )
        )
    ),
    "blob_pruned": sa.delete(blobs).where(blobs.c.digest == bindparam("of_digest")),
    "blob": _insert(blobs).on_conflict_do_nothing(),
    "key_released": (
        sa.update(dispatches)
        .where(dispatches.c.id == bindparam("of_dispatch"))
        .values(key=sa.null())
    ),
    "dispatch": _insert(dispatches, left_out=("started", "ended", "error", *_RESULT)),
    "node": _insert(nodes, left_out=("started", "ended", "error", *_LATER)),
    "dispatch_started": _dispatch_update("status", "started"),
    "node_child": _node_update("sub_dispatch_id", "started"),
    "node_printed": _node_update(appended=("stdout", "stderr")),
    "node_requeued": _node_update("status", "attempt", appended=("stdout", "stderr")),
    "node_started": _node_update("status", "started"),
    "node_finished": _node_update(
        *("status", "ended", "error", "output", "output_seal", "output_key", "value_repr"),
        "reused_from",
        appended=("stdout", "stderr"),
        kept=("started",),  # a sublattice began when its graph was built
    ),
    "node_status": _node_update("status"),
    "dispatch_status": _dispatch_update("status"),
    "dispatch_ended": _dispatch_update(
        "status", "ended", "error", "result", "result_seal", "result_repr"
    ),
    "trigger": _insert(triggers).on_conflict_do_nothing(),
    "trigger_ended": (
        sa.update(triggers)
        .where(
            triggers.c.id == bindparam("of_trigger"),
            triggers.c.status == sa.literal_column("'ACTIVE'"),
        )
        .values(status=bindparam("new_status"), error=bindparam("new_error"))
    ),
    "trigger_fired": _insert(trigger_dispatches).on_conflict_do_nothing(),
    "memo": _replace(memo, "key"),  # what was kept before could not be loaded, or is equal
    "structure": _insert(structures).on_conflict_do_nothing(),
    "circuit": _insert(circuits, left_out=("number",)).on_conflict_do_nothing(),
}


def compile_statements(dialect: sa.Dialect) -> dict[str, str]:
    """The statements as SQL with named parameters.

    Compiled once: SQLAlchemy's own handling of each row costs more than the database does.
    """
    return {name: str(statement.compile(dialect=dialect)) for name, statement in STATEMENTS.items()}


def merge(groups: list[Changes]) -> Changes:
    """All rows of `groups`, per statement, in the order in which the statements must run."""
    merged: Changes = {name: [] for name in STATEMENTS}
    for changes in groups:
        for name, rows in changes.items():
            merged[name].extend(rows)
    return {name: rows for name, rows in merged.items() if rows}
