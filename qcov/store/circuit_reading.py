"""Reading circuits: of a dispatch, in windows, and what they come to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import sqlalchemy as sa

from qcov.errors import CircuitNotFound
from qcov.store import counting
from qcov.store.asking import Row
from qcov.store.circuits import Place, Wanted, from_row, window
from qcov.store.costs import costs
from qcov.store.reading import Reading, descendants
from qcov.store.schema import circuits, nodes, structures

_FEW = 10_000  #: circuits that are sorted sooner than they are found in another order


class CircuitReading(Reading):
    """Reads circuits, and all else."""

    def get_circuits(
        self,
        dispatch_id: str,
        node_id: int | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Row]:
        """The circuits that a dispatch (or one of its nodes) ran, in the order they ended."""
        query = (
            sa.select(circuits, structures.c.text)
            .outerjoin(structures, structures.c.key == circuits.c.structure)
            .where(circuits.c.dispatch_id == dispatch_id)
        )
        if node_id is not None:
            query = query.where(circuits.c.node_id == node_id)
        rows = self._all(query.order_by(circuits.c.number).limit(limit).offset(offset))
        return [from_row(row) for row in rows]

    def list_circuits(
        self,
        wanted: Wanted,
        *,
        limit: int,
        after: Place | None = None,
        before: Place | None = None,
    ) -> list[Row]:
        """A window of the circuits that are wanted, in their order, without their structures.

        Each has its `number` and `status` too.
        """
        few = self.count_circuits(wanted) <= _FEW
        rows = self._all(window(wanted, limit=limit, after=after, before=before, few=few))
        if after is None and before is not None:
            rows.reverse()
        return [from_row(row) | {"number": row["number"], "status": row["status"]} for row in rows]

    def count_circuits(self, wanted: Wanted) -> int:
        """How many circuits are wanted."""
        if wanted.status == "COMPLETED":  # failures are counted by their own index
            rest, failed = replace(wanted, status=None), replace(wanted, status="FAILED")
            return self.count_circuits(rest) - self.count_circuits(failed)
        counted = sa.select(sa.func.count().label("total")).select_from(circuits)
        return int(self._all(counted.where(*wanted.conditions()))[0]["total"])

    def get_circuit(self, dispatch_id: str, circuit_id: str) -> Row:
        """One circuit of a dispatch, with its structure; `CircuitNotFound` for an unknown id."""
        row = self._one(
            sa.select(circuits, structures.c.text)
            .outerjoin(structures, structures.c.key == circuits.c.structure)
            .where(circuits.c.dispatch_id == dispatch_id, circuits.c.id == circuit_id)
        )
        if row is None:
            self.get_dispatch(dispatch_id)
            raise CircuitNotFound(dispatch_id=dispatch_id, circuit_id=circuit_id)
        return from_row(row) | {"number": row["number"], "status": row["status"]}

    def get_structures(self, keys: Iterable[str]) -> dict[str, str]:
        """The texts of structures, by key."""
        rows = self._all(sa.select(structures).where(structures.c.key.in_(list(keys))))
        return {row["key"]: row["text"] for row in rows}

    def circuits_by_node(self, dispatch_id: str) -> list[Row]:
        """How many circuits each node of a dispatch has run: `node_id`, `name`, `circuits`."""
        counted = (
            sa.select(circuits.c.node_id, sa.func.count().label("circuits"))
            .where(circuits.c.dispatch_id == dispatch_id)
            .group_by(circuits.c.node_id)
            .subquery()
        )
        return self._all(
            sa.select(counted.c.node_id, nodes.c.name, counted.c.circuits)
            .join(
                nodes,
                (nodes.c.dispatch_id == dispatch_id) & (nodes.c.node_id == counted.c.node_id),
            )
            .order_by(counted.c.node_id)
        )

    def circuits_by_dispatch(self, roots: Collection[str]) -> list[Row]:
        """How many circuits dispatches and their sublattices have run; see `counting`."""
        return counting.circuits_by_dispatch(self, roots)

    def circuit_summary(self, dispatch_id: str) -> list[Row]:
        """How many circuits ran where and for how long, sublattices included."""
        tree = descendants(dispatch_id)
        return self._all(
            sa.select(
                circuits.c.executor,
                circuits.c.device,
                sa.func.count().label("circuits"),
                sa.func.sum(circuits.c.execution_time).label("seconds"),
            )
            .where(circuits.c.dispatch_id.in_(sa.select(tree.c.id)))
            .group_by(circuits.c.executor, circuits.c.device)
            .order_by(circuits.c.executor, circuits.c.device)
        )

    def circuit_costs(self, dispatch_id: str) -> list[Row]:
        """What circuits have cost, by executor, sublattices included; see `costs.costs`."""
        return costs(self, dispatch_id)

    def circuits_after(self, number: int, limit: int) -> list[Row]:
        """The circuits after the one with this number; see `counting`."""
        return counting.circuits_after(self, number, limit)
