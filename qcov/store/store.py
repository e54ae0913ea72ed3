"""The store: where dispatches live.

One process opens it for writing (`open_store`) and owns it until it ends; any thread may read.
The database is behind `database`, through SQLAlchemy Core; small payloads are in it, large ones
are files or objects.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Never, cast

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

from qcov.errors import CircuitNotFound, DispatchNotFound, IntegrityError, StoreUnavailable
from qcov.store import counting
from qcov.store.blobs import INLINE_LIMIT, open_payloads
from qcov.store.changes import TERMINAL, Changes
from qcov.store.circuits import Place, Wanted, from_row, window
from qcov.store.costs import costs
from qcov.store.database import open_database
from qcov.store.folder import identity, installation_key, prepare_folder
from qcov.store.leases import Fence, Leases
from qcov.store.listing import dispatch_conditions, dispatch_order, node_conditions, node_order
from qcov.store.migrations import migrate
from qcov.store.schema import (
    attempts,
    blobs,
    circuits,
    dispatches,
    environments,
    memo,
    nodes,
    sealing,
    structures,
    triggers,
)
from qcov.store.writer import Done, Writer
from qcov.transport import address, check_seal, seal
from qcov.wire import unpack

_log = logging.getLogger("qcov.store")

_PARAMETERS = 500  #: of one statement; SQLite has a limit
_FEW = 10_000  #: circuits that are sorted sooner than they are found in another order

Row = dict[str, Any]

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
_BLOB = sa.select(blobs.c.data).where(blobs.c.digest == sa.bindparam("digest"))
_BLOBS = sa.select(blobs.c.digest, blobs.c.data).where(
    blobs.c.digest.in_(sa.bindparam("digests", expanding=True))
)


class Store:
    """Dispatches, nodes, blobs, circuits and events.

    Args:
        folder: The data folder.
        url: Of the database, if it is not the file in the data folder.
        payloads: The folder or URL of large payloads, if they are not in the data folder.
        seal_key: The file with the key that seals payloads, if it is not in the data folder.
        lease: For how many seconds an engine has its dispatches, where several share a database.
    """

    def __init__(
        self,
        folder: Path,
        *,
        url: str = "",
        payloads: str = "",
        seal_key: Path | None = None,
        lease: float = 30.0,
    ) -> None:
        self.folder = folder
        self.payloads = open_payloads(payloads or str(folder / "blobs"))
        prepare_folder(folder, url)
        self.payloads.check()
        self._key_file = seal_key or folder / "seal.key"
        self._key = installation_key(self._key_file)
        self._database = open_database(folder, url)
        self.where = self._database.name if url else str(folder)  #: for people
        #: Which dispatches are this engine's; None where it has the store for itself.
        self.leases: Leases | None = None
        fence: Fence | None = None
        if self._database.shared:
            self.leases = Leases(self._transaction, identity(folder), lease)
            fence = Fence(self._database.dialect, self.leases.owner)
        try:
            migrate(self._database.writing, self._database.name)
            if self._database.shared:
                self._check_key()
            self._writer = Writer(self._database, path=self.where, fence=fence)
        except DatabaseError as error:
            self._database.close()
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Commit what is queued and let go of the database.

        A server that does not answer is left alone: what it has of this process goes with that.
        """
        if self._writer.close(self._give_back):
            self._database.close()
        else:
            _log.error("%s does not answer, and was not told that this engine ends", self.where)

    def _give_back(self) -> None:
        if self.leases is not None:
            with contextlib.suppress(StoreUnavailable):  # then they end by themselves
                self.leases.give_back()

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sa.Connection, None, None]:
        try:
            with self._database.writing.begin() as connection:
                yield connection
        except DBAPIError as error:
            self._raise(error)

    def _check_key(self) -> None:
        """All engines of a database need one key: what another has sealed would be refused."""
        sign = seal(self._key, "sealing")
        with self._transaction() as connection:
            row = {"number": 1, "sign": sign}
            made = self._database.insert(sealing).values(row).on_conflict_do_nothing()
            connection.execute(made)
            known = connection.scalar(sa.select(sealing.c.sign))
        if known != sign:
            raise StoreUnavailable(
                path=self.where,
                reason=f"what it has was sealed with another key than {self._key_file}",
                advice="Copy the file `seal.key` of the data folder that used it first, "
                "and let `workflow_data.seal_key` lead to the copy.",
            )

    def _raise(self, error: DBAPIError) -> Never:
        """Name what somebody can mend; anything else is a defect of ours."""
        if isinstance(error, OperationalError) or self._database.passes(error.orig or error):
            raise self._unavailable(error) from error
        raise error

    def _unavailable(self, error: DBAPIError) -> StoreUnavailable:
        reason = self._database.reason(error.orig or error)
        return StoreUnavailable(path=self.where, reason=reason, advice=self._database.advice)

    # -- writing

    def put(self, changes: Changes, done: Done | None = None, *, keep: bool = True) -> None:
        """Commit `changes` with whatever else is waiting; see `Writer.put`."""
        if self.leases is None:
            return self._writer.put(changes, done, keep=keep)
        stamped, epochs = self.leases.stamp(changes), self.leases.epochs(changes)
        return self._writer.put(stamped, done, keep=keep, epochs=epochs)

    def seal(self, digest: str, *place: object) -> str:
        """The seal of a blob for the place that it is stored for."""
        return seal(self._key, digest, *place)

    def blob_row(self, digest: str, data: bytes) -> Row:
        """The row for a blob; a large one is written when this returns."""
        if len(data) <= INLINE_LIMIT:
            return {"digest": digest, "size": len(data), "data": data}
        self.payloads.write(digest, data)
        return {"digest": digest, "size": len(data), "data": None}

    # -- reading

    def blob(self, digest: str) -> bytes:
        """The bytes of a blob, checked against its digest."""
        row = self._one(_BLOB, digest=digest)
        inline = row["data"] if row else None
        data = self.payloads.read(digest) if inline is None else bytes(inline)
        if address(data) != digest:
            raise IntegrityError(blob=digest, reason="its content does not match its digest")
        return data

    def blob_size(self, digest: str) -> int | None:
        """The size of a blob in bytes; None for an unknown one."""
        rows = self._all(sa.select(blobs.c.size).where(blobs.c.digest == digest))
        return int(rows[0]["size"]) if rows else None

    def inline_blob(self, digest: str) -> bytes | None:
        """The bytes of a small blob; None for one in a file, which whoever needs it reads."""
        row = self._one(_BLOB, digest=digest)
        if row is None:
            raise IntegrityError(blob=digest, reason="the store does not have it")
        return None if row["data"] is None else bytes(row["data"])

    def inline_blobs(self, digests: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """What `inline_blob` says of many, in few questions; unknown ones are left out."""
        for some in in_parts(digests, _PARAMETERS):
            for row in self._all(_BLOBS, digests=some):
                yield row["digest"], None if row["data"] is None else bytes(row["data"])

    def manifest(self, dispatch_id: str) -> Row:
        """The graph of a dispatch, its seal checked."""
        row = self._dispatch(_DISPATCH, dispatch_id)
        check_seal(self._key, row["manifest_seal"], row["manifest"], dispatch_id, "manifest")
        return cast("Row", unpack(self.blob(row["manifest"])))

    def outputs(self, dispatch_id: str) -> dict[int, str]:
        """The digests of all nodes that have an output, their seals checked."""
        wanted = (nodes.c.node_id, nodes.c.output, nodes.c.output_seal)
        rows = self._all(
            sa.select(*wanted).where(
                nodes.c.dispatch_id == dispatch_id, nodes.c.output.is_not(None)
            )
        )
        for row in rows:
            check_seal(self._key, row["output_seal"], row["output"], dispatch_id, row["node_id"])
        return {row["node_id"]: row["output"] for row in rows}

    def result_digest(self, dispatch_id: str) -> str | None:
        """The digest of the result, its seal checked; None while there is none."""
        return self.checked_result(self._dispatch(_DISPATCH, dispatch_id))

    def checked_result(self, row: Row) -> str | None:
        """What `result_digest` says of the dispatch with this row."""
        if row["result"] is not None:
            check_seal(self._key, row["result_seal"], row["result"], row["id"], "result")
        return cast("str | None", row["result"])

    def active_triggers(self) -> list[Row]:
        """The triggers that are to watch, oldest first."""
        chosen = sa.select(triggers).where(triggers.c.status == "ACTIVE")
        return self._all(chosen.order_by(triggers.c.created))

    def triggers_of(self, dispatch_id: str) -> list[Row]:
        """All triggers of a dispatch, oldest first."""
        chosen = sa.select(triggers).where(triggers.c.dispatch_id == dispatch_id)
        return self._all(chosen.order_by(triggers.c.created))

    def check_trigger(self, row: Row) -> None:
        """Raise `IntegrityError` for a trigger that was made elsewhere."""
        check_seal(self._key, row["object_seal"], row["object"], row["id"], "trigger")

    def payload(self, dispatch_id: str, of: str | int) -> Row | None:
        """A sealed payload: of a node (its number), or "result", "inputs" or "lattice".

        None if there is none; its `data` is None for one that is in a file.
        """
        if of == "result":
            digest = self.result_digest(dispatch_id)
        elif isinstance(of, str):
            digest = self.manifest(dispatch_id)[of]
        else:
            digest = self._value_of(dispatch_id, of)
        if digest is None:
            return None
        return {"digest": digest, "data": self.inline_blob(digest)}

    def _value_of(self, dispatch_id: str, node_id: int) -> str | None:
        rows = self.get_nodes(dispatch_id, node_id=node_id)
        if not rows or rows[0]["output"] is None:
            return None
        check_seal(self._key, rows[0]["output_seal"], rows[0]["output"], dispatch_id, node_id)
        return cast("str", rows[0]["output"])

    def get_dispatch(self, dispatch_id: str) -> Row:
        """One dispatch; `DispatchNotFound` for an unknown id."""
        return self._dispatch(_DISPATCH_AND_PROGRESS, dispatch_id)

    def status(self, dispatch_id: str) -> str:
        """The status of a dispatch; its nodes are not counted."""
        return str(self._dispatch(_DISPATCH, dispatch_id)["status"])

    def _dispatch(self, query: sa.Select[Any], dispatch_id: str) -> Row:
        row = self._one(query, dispatch_id=dispatch_id)
        if row is None:
            raise DispatchNotFound(dispatch_id=dispatch_id, where=self.where)
        return row

    def rows(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """What a query finds."""
        return self._all(query)

    def has_dispatch(self, dispatch_id: str) -> bool:
        """True if there is a dispatch with this id."""
        return self._one(_DISPATCH_ID, dispatch_id=dispatch_id) is not None

    def find_key(self, key: str) -> Row | None:
        """The dispatch with this idempotency key, if there is one."""
        return self._one(sa.select(dispatches).where(dispatches.c.key == key))

    def remembered(self, keys: Iterable[str]) -> Iterator[Row]:
        """The values that were kept under these keys; those whose seals are not ours left out."""
        for some in in_parts(keys, _PARAMETERS):
            for row in self._all(sa.select(memo).where(memo.c.key.in_(some))):
                place = ("memo", row["key"], row["dispatch_id"], row["output_key"])
                with contextlib.suppress(IntegrityError):
                    check_seal(self._key, row["output_seal"], row["output"], *place)
                    yield row

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

    def get_edges(self, dispatch_id: str) -> list[tuple[int, int, str]]:
        """Source, target and label of every edge of a dispatch's graph."""
        return [
            (int(source), int(target), str(label))
            for source, target, label in self.manifest(dispatch_id)["edges"]
        ]

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

    def circuits_after(self, number: int, limit: int) -> list[Row]:
        """The circuits after the one with this number; see `counting`."""
        return counting.circuits_after(self, number, limit)

    def electrons_by_executor(self, since: float) -> list[Row]:
        """How many electrons stand how, by executor; see `counting`."""
        return counting.electrons_by_executor(self, since)

    def electron_lengths(self, since: float) -> list[tuple[str, float]]:
        """Executor and seconds of the latest electrons; see `counting`."""
        return counting.electron_lengths(self, since)

    def circuits_by_dispatch(self, roots: Collection[str]) -> list[Row]:
        """How many circuits dispatches and their sublattices have run; see `counting`."""
        return counting.circuits_by_dispatch(self, roots)

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

    def get_attempts(self, dispatch_id: str, node_id: int) -> list[Row]:
        """The tries of a node that failed and were followed by another one, in their order."""
        return self._all(
            sa.select(attempts)
            .where(attempts.c.dispatch_id == dispatch_id, attempts.c.node_id == node_id)
            .order_by(attempts.c.attempt)
        )

    def circuit_summary(self, dispatch_id: str) -> list[Row]:
        """How many circuits ran where and for how long, sublattices included."""
        tree = _descendants(dispatch_id)
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

    def progress(self, dispatch_id: str) -> Row:
        """The status of a dispatch, and how many of its electrons are done, of how many.

        Those of sublattices count too.
        """
        # first: of one that has ended, all electrons are then counted as they ended
        status = self.status(dispatch_id)
        tree = _descendants(dispatch_id)
        counted = self._all(
            sa.select(nodes.c.status, sa.func.count().label("count"))
            .where(nodes.c.dispatch_id.in_(sa.select(tree.c.id)), nodes.c.kind == "electron")
            .group_by(nodes.c.status)
        )
        counts = {row["status"]: row["count"] for row in counted}
        return {
            "status": status,
            "done": sum(counts.get(status, 0) for status in TERMINAL),
            "total": sum(counts.values()),
        }

    def _all(self, query: sa.Executable, **parameters: object) -> list[Row]:
        try:
            with self._database.reading.connect() as connection:
                found = connection.execute(query, parameters)
                columns = [str(name) for name in found.keys()]  # noqa: SIM118  # it is no dictionary
                return [dict(zip(columns, row, strict=True)) for row in found]
        except DBAPIError as error:
            self._raise(error)

    def _one(self, query: sa.Executable, **parameters: object) -> Row | None:
        rows = self._all(query, **parameters)
        return rows[0] if rows else None


def in_parts(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Some keys at a time: a database takes only so many in one question."""
    rest = iter(keys)
    while part := list(islice(rest, size)):
        yield part


def _descendants(dispatch_id: str) -> sa.CTE:
    start = sa.select(dispatches.c.id).where(dispatches.c.id == dispatch_id)
    tree = start.cte("tree", recursive=True)
    return tree.union_all(sa.select(dispatches.c.id).where(dispatches.c.parent_id == tree.c.id))
