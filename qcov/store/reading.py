"""Reading dispatches, their nodes and their triggers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

import sqlalchemy as sa

from qcov.store import counting
from qcov.store.asking import Row
from qcov.store.changes import TERMINAL
from qcov.store.listing import dispatch_conditions, dispatch_order, node_conditions, node_order
from qcov.store.schema import attempts, dispatches, environments, nodes, triggers
from qcov.store.sealed import Sealed

# What is asked again and again is made once: SQLAlchemy takes longer to put such a question than
# SQLite takes to answer it.
_NODES_DONE = (
    sa.select(sa.func.count())
    .select_from(nodes)
    .where(nodes.c.status == "COMPLETED", nodes.c.dispatch_id == dispatches.c.id)
    .scalar_subquery()
    .label("nodes_done")
)
_DISPATCHES_AND_PROGRESS = sa.select(dispatches, _NODES_DONE)
_THIS_ONE = dispatches.c.id == sa.bindparam("dispatch_id")
_DISPATCH_AND_PROGRESS = _DISPATCHES_AND_PROGRESS.where(_THIS_ONE)
_DISPATCH = sa.select(dispatches).where(_THIS_ONE)
_DISPATCH_ID = sa.select(dispatches.c.id).where(_THIS_ONE)


class Reading(Sealed):
    """Reads dispatches, nodes and triggers, and payloads."""

    def active_triggers(self) -> list[Row]:
        """The triggers that are to watch, oldest first."""
        chosen = sa.select(triggers).where(triggers.c.status == "ACTIVE")
        return self._all(chosen.order_by(triggers.c.created))

    def triggers_of(self, dispatch_id: str) -> list[Row]:
        """All triggers of a dispatch, oldest first."""
        chosen = sa.select(triggers).where(triggers.c.dispatch_id == dispatch_id)
        return self._all(chosen.order_by(triggers.c.created))

    def get_dispatch(self, dispatch_id: str) -> Row:
        """One dispatch; `DispatchNotFound` for an unknown id."""
        return self._dispatch(dispatch_id, _DISPATCH_AND_PROGRESS)

    def status(self, dispatch_id: str) -> str:
        """The status of a dispatch; its nodes are not counted."""
        return str(self._dispatch(dispatch_id)["status"])

    def has_dispatch(self, dispatch_id: str) -> bool:
        """True if there is a dispatch with this id."""
        return self._one(_DISPATCH_ID, dispatch_id=dispatch_id) is not None

    def find_key(self, key: str) -> Row | None:
        """The dispatch with this idempotency key, if there is one."""
        return self._one(sa.select(dispatches).where(dispatches.c.key == key))

    def unfinished(self) -> list[Row]:
        """Dispatches that have not ended, oldest first."""
        return self._all(
            sa.select(dispatches)
            .where(dispatches.c.status.not_in(TERMINAL))
            .order_by(dispatches.c.created)
        )

    def list_dispatches(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        status: str | Sequence[str] | None = None,
        search: str | None = None,
        root_only: bool = True,
        created_after: float | None = None,
        created_before: float | None = None,
        sort: str = "-created",
        name: str | None = None,
        triggered: bool | None = None,
    ) -> tuple[list[Row], int]:
        """A window of the dispatches, and how many there are in all.

        With `triggered`, only those that triggers have started, or (False) only the others.
        `sort` is one of `listing.DISPATCH_ORDERS`, with a minus before it for the other way round.
        """
        chosen = dispatch_conditions(
            status=status, search=search, root_only=root_only, created_after=created_after,
            created_before=created_before, name=name, triggered=triggered,
        )  # fmt: skip
        order = dispatch_order(sort)
        # Only ids are sorted: whole rows, with their errors and arguments, take ten times as long.
        ids = sa.select(dispatches.c.id).where(*chosen).order_by(*order)
        few = ids.limit(limit).offset(offset).scalar_subquery()
        query = _DISPATCHES_AND_PROGRESS.where(dispatches.c.id.in_(few)).order_by(*order)
        counted = sa.select(sa.func.count().label("total")).select_from(dispatches).where(*chosen)
        total = self._one(counted) or {"total": 0}
        return self._all(query), int(total["total"])

    def environment(self, dispatch_id: str) -> Row | None:
        """What a dispatch runs in; None if that was not noted."""
        query = sa.select(environments.c.described).join(
            dispatches, dispatches.c.environment == environments.c.digest
        )
        found = self._one(query.where(dispatches.c.id == dispatch_id))
        return None if found is None else cast("Row", json.loads(found["described"]))

    def list_nodes(
        self,
        dispatch_id: str,
        *,
        limit: int = 100,
        offset: int = 0,
        status: str | Sequence[str] | None = None,
        kind: str | None = None,
        search: str | None = None,
        sort: str = "node_id",
    ) -> tuple[list[Row], int]:
        """A window of the nodes of a dispatch, and how many there are in all.

        `sort` is one of `listing.NODE_ORDERS`, with a minus before it for the other way round.
        """
        chosen = node_conditions(dispatch_id, status=status, kind=kind, search=search)
        window = sa.select(nodes).where(*chosen).order_by(*node_order(sort))
        counted = sa.select(sa.func.count().label("total")).select_from(nodes).where(*chosen)
        total = self._one(counted) or {"total": 0}
        return self._all(window.limit(limit).offset(offset)), int(total["total"])

    def get_nodes(
        self,
        dispatch_id: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        node_id: int | None = None,
    ) -> list[Row]:
        """The nodes of a dispatch in their order, or the one with `node_id`."""
        query = sa.select(nodes).where(nodes.c.dispatch_id == dispatch_id)
        if node_id is not None:
            query = query.where(nodes.c.node_id == node_id)
        return self._all(query.order_by(nodes.c.node_id).limit(limit).offset(offset))

    def some_nodes(self, dispatch_id: str, numbers: Iterable[int]) -> list[Row]:
        """The nodes of a dispatch with these numbers, of which there are a few hundred at most."""
        chosen = nodes.c.node_id.in_(list(numbers))
        return self._all(sa.select(nodes).where(nodes.c.dispatch_id == dispatch_id, chosen))

    def electrons_by_executor(self, since: float) -> list[Row]:
        """How many electrons stand how, by executor; see `counting`."""
        return counting.electrons_by_executor(self, since)

    def electron_lengths(self, since: float) -> list[tuple[str, float]]:
        """Executor and seconds of the latest electrons; see `counting`."""
        return counting.electron_lengths(self, since)

    def get_attempts(self, dispatch_id: str, node_id: int) -> list[Row]:
        """The tries of a node that failed and were followed by another one, in their order."""
        return self._all(
            sa.select(attempts)
            .where(attempts.c.dispatch_id == dispatch_id, attempts.c.node_id == node_id)
            .order_by(attempts.c.attempt)
        )

    def progress(self, dispatch_id: str) -> Row:
        """The status of a dispatch, and how many of its electrons are done, of how many.

        Those of sublattices count too.
        """
        tree = descendants(dispatch_id)
        status = sa.select(dispatches.c.status).where(dispatches.c.id == dispatch_id)
        counted = self._all(
            sa.select(nodes.c.status, sa.func.count().label("count"))
            .where(nodes.c.dispatch_id.in_(sa.select(tree.c.id)), nodes.c.kind == "electron")
            .group_by(nodes.c.status)
            .union_all(sa.select(status.scalar_subquery(), sa.literal(None)))
        )
        counts = {row["status"]: row["count"] for row in counted if row["count"] is not None}
        return {
            "status": next(row["status"] for row in counted if row["count"] is None),
            "done": sum(counts.get(status, 0) for status in TERMINAL),
            "total": sum(counts.values()),
        }


def descendants(dispatch_id: str) -> sa.CTE:
    """A dispatch with its sublattices, however deep: their ids."""
    start = sa.select(dispatches.c.id).where(dispatches.c.id == dispatch_id)
    tree = start.cte("tree", recursive=True)
    return tree.union_all(sa.select(dispatches.c.id).where(dispatches.c.parent_id == tree.c.id))
