"""What can be written: every statement that changes the store.

Changes are collected per statement, and many callers' changes are committed together. Within a
transaction the statements run in the order of `statements`, whoever asked first; their conditions
make that safe: a terminal state never changes, and a node's change names the attempt that it is
about.

An update takes `of_...` to say which row, and `new_...` for each column that it sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.expression import ClauseElement

from qcov.store.schema import (
    attempts,
    blobs,
    circuits,
    commits,
    dispatches,
    environments,
    memo,
    nodes,
    structures,
    trigger_dispatches,
    triggers,
)

#: Rows per statement name: the unit that is committed or refused as a whole.
Changes = dict[str, list[Mapping[str, Any]]]

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")

#: A dialect's `insert`: both have the same form, and no common class that says so.
Insert = Callable[[sa.Table], Any]

_RESULT = ("result", "result_seal", "result_repr")
_LEASE = ("owner", "epoch", "lease_ends")
_LATER = ("stdout", "stderr", "sub_dispatch_id", "output_key", "reused_from")


def _insert(insert: Insert, table: sa.Table, left_out: tuple[str, ...] = ()) -> Any:
    columns = [column.name for column in table.columns if column.name not in left_out]
    return insert(table).values({column: bindparam(column) for column in columns})


def _replace(insert: Insert, table: sa.Table, key: str) -> ClauseElement:
    made = _insert(insert, table)
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


def database_time() -> sa.ColumnElement[float]:
    """The database's clock, in seconds since the epoch: the one that all engines share."""
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


def _leased(insert: Insert, table: sa.Table, left_out: tuple[str, ...], shared: bool) -> Any:
    """An `INSERT` that names the owner, who has it for `of_lease` seconds."""
    if not shared:
        return _insert(insert, table, (*left_out, *_LEASE))
    made = _insert(insert, table, (*left_out, "lease_ends"))
    until = database_time() + bindparam("of_lease", type_=sa.Float)
    return made.values(lease_ends=until)


def _others_silent() -> sa.ColumnElement[bool]:
    """No engine but `of_owner` has committed anything since its last token was in `of_seen`."""
    seen = sa.func.any(bindparam("of_seen", type_=sa.ARRAY(sa.Text)))
    others = sa.select(commits.c.owner).where(
        commits.c.owner != bindparam("of_owner"), sa.not_(commits.c.token == seen)
    )
    return sa.not_(others.exists())


def _ends_trigger(shared: bool) -> sa.ColumnElement[bool]:
    """Anybody may stop a trigger; that it has failed only its engine knows."""
    active = triggers.c.status == sa.literal_column("'ACTIVE'")
    if not shared:
        return active
    stops = bindparam("new_status", type_=sa.Text) == sa.literal_column("'STOPPED'")
    return active & (stops | (triggers.c.owner == bindparam("of_owner")))


def statements(insert: Insert, *, shared: bool) -> dict[str, ClauseElement]:
    """Every statement by its name, in the order in which they run.

    Args:
        insert: The dialect's.
        shared: Whether several engines write, each to what is its own.
    """
    return {
        **({"alone": sa.text("LOCK TABLE commits IN EXCLUSIVE MODE")} if shared else {}),
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
        "environments_pruned": (
            sa.delete(environments).where(
                environments.c.digest.not_in(
                    sa.select(dispatches.c.environment).where(dispatches.c.environment.is_not(None))
                )
            )
        ),
        "blob_pruned": (
            sa.delete(blobs).where(
                blobs.c.digest == bindparam("of_digest"), *([_others_silent()] if shared else [])
            )
        ),
        "blob": _insert(insert, blobs).on_conflict_do_nothing(),
        "environment": _insert(insert, environments).on_conflict_do_nothing(),
        "key_released": (
            sa.update(dispatches)
            .where(dispatches.c.id == bindparam("of_dispatch"))
            .values(key=sa.null())
        ),
        "dispatch": _leased(
            insert,
            dispatches,
            ("started", "ended", "error", "cancel_requested", *_RESULT),
            shared,
        ),
        "node": _insert(insert, nodes, left_out=("started", "ended", "error", *_LATER)),
        "dispatch_started": _dispatch_update("status", "started"),
        "node_child": _node_update("sub_dispatch_id", "started"),
        "node_placed": _node_update("executor"),
        "node_printed": _node_update(appended=("stdout", "stderr")),
        "node_attempt": _insert(insert, attempts).on_conflict_do_nothing(),
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
        "cancel_heeded": (
            sa.update(dispatches)
            .where(  # not another one, which came since
                dispatches.c.id == bindparam("of_dispatch"),
                dispatches.c.cancel_requested == bindparam("of_request"),
            )
            .values(cancel_requested=sa.null())
        ),
        "trigger": _leased(insert, triggers, (), shared).on_conflict_do_nothing(),
        "trigger_ended": (
            sa.update(triggers)
            .where(triggers.c.id == bindparam("of_trigger"), _ends_trigger(shared))
            .values(status=bindparam("new_status"), error=bindparam("new_error"))
        ),
        "trigger_fired": _insert(insert, trigger_dispatches).on_conflict_do_nothing(),
        # what was kept before could not be loaded, or is equal
        "memo": _replace(insert, memo, "key"),
        "structure": _insert(insert, structures).on_conflict_do_nothing(),
        "circuit": _insert(insert, circuits, left_out=("number",)).on_conflict_do_nothing(),
    }


_ORDER = tuple(statements(sqlite.insert, shared=True))


def compile_statements(insert: Insert, dialect: sa.Dialect, *, shared: bool) -> dict[str, str]:
    """The statements as SQL with named parameters.

    Compiled once: SQLAlchemy's own handling of each row costs more than the database does.
    """
    made = statements(insert, shared=shared)
    return {name: str(statement.compile(dialect=dialect)) for name, statement in made.items()}


#: Statements about dispatches that an engine must have, with the column that names them.
_OWNED = {
    **dict.fromkeys(
        (
            *("dispatch_started", "node_child", "node_printed", "node_requeued", "node_started"),
            *("node_finished", "node_placed", "node_status", "dispatch_status", "dispatch_ended"),
            "cancel_heeded",
        ),
        "of_dispatch",
    ),
    **dict.fromkeys(("node_attempt", "circuit"), "dispatch_id"),
}


#: Statements about rows that are no engine's own, with the column that names them.
_COMMON = {
    **dict.fromkeys(("dispatch_pruned", "trigger_pruned"), "of_dispatch"),
    "blob_pruned": "of_digest",
    "blob": "digest",
    "memo": "key",
    "structure": "key",
    "environment": "digest",
}


def dispatches_in(changes: Changes) -> set[str]:
    """The dispatches that changes are about, as far as their engine alone may make them.

    The root of a new sublattice is among them: whoever has the root has all below it.
    """
    roots = {row["root_id"] for row in changes.get("dispatch", ()) if row["root_id"] != row["id"]}
    return roots | {
        row[column] for name, column in _OWNED.items() if name in changes for row in changes[name]
    }


def merge(groups: list[Changes]) -> Changes:
    """All rows of `groups`, per statement, in the order in which the statements must run.

    Rows that other engines may write too are in the order of their keys: then no two transactions
    wait for each other.
    """
    merged: Changes = {name: [] for name in _ORDER}
    for changes in groups:
        for name, rows in changes.items():
            merged[name].extend(rows)
    for name, key in _COMMON.items():
        merged[name].sort(key=itemgetter(key))
    return {name: rows for name, rows in merged.items() if rows}
