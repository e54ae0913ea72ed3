"""The store: where dispatches live.

One process opens it for writing (`open_store`) and owns it until it ends; any thread may read.
SQLite in WAL mode through SQLAlchemy Core; small payloads in the database, large ones as files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError

from qcov import private_file
from qcov.errors import DispatchNotFound, IntegrityError, StoreUnavailable
from qcov.store import blobs as files
from qcov.store.changes import TERMINAL, Changes
from qcov.store.circuits import from_row
from qcov.store.migrations import migrate
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
from qcov.store.writer import Done, Writer
from qcov.transport import address, check_seal, seal
from qcov.wire import unpack

_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "lustre", "beegfs", "gpfs", "fuse.sshfs", "9p")

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=8192",  # pages: copying back is work that can wait for a longer stretch
)

_PARAMETERS = 500  #: of one statement; SQLite has a limit

# KiB of the database that a connection keeps in memory. The writer has its indexes there; there are
# several readers, and the system keeps what they have read.
_WRITING, _READING = 65_536, 4_096

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
    """Dispatches, nodes, blobs, circuits and events of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blob_folder = folder / "blobs"
        self._path = folder / "qcov.sqlite"
        prepare_folder(folder)
        self._key = _installation_key(folder / "seal.key")
        try:
            private_file.touch(self._path).close()  # SQLite gives its other files the same mode
            writing = _connect(self._path, begin="BEGIN IMMEDIATE", cache=_WRITING)
            migrate(writing, str(self._path))
        except DatabaseError as error:
            reason = str(error.__cause__)
            advice = "Free some space, restore its files, or set QCOV_DATA_DIR to another folder."
            raise StoreUnavailable(path=str(folder), reason=reason, advice=advice) from error
        self._reading = _connect(self._path, begin="BEGIN", cache=_READING)
        self._writing = writing
        self._writer = Writer(writing, path=str(folder))

    def close(self) -> None:
        """Commit what is queued and let go of the database."""
        self._writer.close()
        self._writing.dispose()
        self._reading.dispose()

    # -- writing

    def put(self, changes: Changes, done: Done | None = None, *, keep: bool = True) -> None:
        """Commit `changes` with whatever else is waiting; see `Writer.put`."""
        self._writer.put(changes, done, keep=keep)

    def seal(self, digest: str, *place: object) -> str:
        """The seal of a blob for the place that it is stored for."""
        return seal(self._key, digest, *place)

    def blob_row(self, digest: str, data: bytes) -> Row:
        """The row for a blob; a large one is on disk when this returns."""
        if len(data) <= files.INLINE_LIMIT:
            return {"digest": digest, "size": len(data), "data": data}
        files.write(self.blob_folder, digest, data)
        return {"digest": digest, "size": len(data), "data": None}

    # -- reading

    def blob(self, digest: str) -> bytes:
        """The bytes of a blob, checked against its digest."""
        row = self._one(_BLOB, digest=digest)
        inline = row["data"] if row else None
        data = files.read(self.blob_folder, digest) if inline is None else bytes(inline)
        if address(data) != digest:
            raise IntegrityError(blob=digest, reason="its content does not match its digest")
        return data

    def inline_blob(self, digest: str) -> bytes | None:
        """The bytes of a small blob; None for one in a file, which whoever needs it reads."""
        row = self._one(_BLOB, digest=digest)
        if row is None:
            raise IntegrityError(blob=digest, reason="the store does not have it")
        return None if row["data"] is None else bytes(row["data"])

    def inline_blobs(self, digests: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """What `inline_blob` says of many, in few questions; unknown ones are left out."""
        for some in _in_parts(digests, _PARAMETERS):
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

    def fired_by(self, trigger_id: str) -> list[str]:
        """The dispatches that a trigger has started, oldest first."""
        fired = trigger_dispatches.c
        chosen = sa.select(fired.dispatch_id).where(fired.trigger_id == trigger_id)
        return [row["dispatch_id"] for row in self._all(chosen.order_by(fired.created))]

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
            raise DispatchNotFound(dispatch_id=dispatch_id, where=str(self.folder))
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
        for some in _in_parts(keys, _PARAMETERS):
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
        status: str | None = None,
        search: str | None = None,
        root_only: bool = True,
    ) -> tuple[list[Row], int]:
        """A window of the dispatches, newest first, and how many there are in all."""
        chosen: list[sa.ColumnElement[bool]] = []
        if status:
            chosen.append(dispatches.c.status == status)
        if search:
            found = dispatches.c.name.contains(search, autoescape=True)
            chosen.append(found | dispatches.c.id.startswith(search, autoescape=True))
        if root_only:
            chosen.append(dispatches.c.parent_id.is_(None))
        window = (
            _DISPATCHES_AND_PROGRESS.where(*chosen)
            .order_by(dispatches.c.created.desc())
            .limit(limit)
            .offset(offset)
        )
        counted = sa.select(sa.func.count().label("total")).select_from(dispatches).where(*chosen)
        total = self._one(counted) or {"total": 0}
        return self._all(window), int(total["total"])

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

    def children(self, dispatch_id: str) -> list[Row]:
        """The sublattices that a dispatch started, as dispatches."""
        return self._all(
            sa.select(dispatches)
            .where(dispatches.c.parent_id == dispatch_id)
            .order_by(dispatches.c.parent_node)
        )

    def _all(self, query: sa.Executable, **parameters: object) -> list[Row]:
        with self._reading.connect() as connection:
            found = connection.execute(query, parameters)
            columns = [str(column) for column in found.keys()]  # noqa: SIM118  # it is no dictionary
            return [dict(zip(columns, row, strict=True)) for row in found]

    def _one(self, query: sa.Executable, **parameters: object) -> Row | None:
        rows = self._all(query, **parameters)
        return rows[0] if rows else None


def _in_parts(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while part := list(islice(rest, size)):
        yield part


def prepare_folder(folder: Path) -> None:
    """Make the data folder, private to the user, and prove that it can be written."""
    advice = "Set QCOV_DATA_DIR to a folder of yours on a local disk."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".probe.{secrets.token_hex(4)}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailable(path=str(folder), reason=reason, advice=advice) from error
    if folder.stat().st_uid != os.getuid():
        raise StoreUnavailable(path=str(folder), reason="it belongs to another user", advice=advice)
    if kind := _network_file_system(folder):
        reason = f"it is on a network file system ({kind}), where SQLite's WAL mode loses data"
        raise StoreUnavailable(path=str(folder), reason=reason, advice=advice)


def _network_file_system(folder: Path) -> str | None:
    """The kind of network file system that holds `folder`, None for a local one."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: nothing is known, so nothing is refused
        return None
    resolved = folder.resolve()
    kinds = {Path(fields[1]): fields[2] for fields in map(str.split, mounts) if len(fields) > 2}
    holders = [path for path in kinds if resolved.is_relative_to(path)]
    kind = kinds[max(holders, key=lambda path: len(path.parts))] if holders else ""
    return kind if kind.startswith(_NETWORK_FILE_SYSTEMS) else None


def _installation_key(path: Path) -> bytes:
    """The key that seals this store's blobs; made once, readable by the user alone."""
    if not path.exists():
        private_file.write(path, secrets.token_bytes(32))
    return path.read_bytes()


def _connect(path: Path, *, begin: str, cache: int) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30.0})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        for pragma in (*_PRAGMAS, f"cache_size=-{cache}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _descendants(dispatch_id: str) -> sa.CTE:
    start = sa.select(dispatches.c.id).where(dispatches.c.id == dispatch_id)
    tree = start.cte("tree", recursive=True)
    return tree.union_all(sa.select(dispatches.c.id).where(dispatches.c.parent_id == tree.c.id))


class Ownership:
    """The right to write to a data folder: one process has it at a time.

    The lock goes with the process, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = private_file.touch(folder / "engine.lock")

    def acquire(self, seconds: int) -> None:
        """Take it, waiting for another process that has it to end.

        Raises `StoreUnavailable` if that takes more than `seconds`. Call it in the main thread.
        """
        before = signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(seconds)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except TimeoutError as error:
            owner = self._file.read().decode(errors="replace") or "another process"
            reason = f"process {owner} writes to it, and does not answer"
            advice = "Stop that process, then try again."
            raise StoreUnavailable(path=str(self._folder), reason=reason, advice=advice) from error
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())
        self._file.flush()

    def release(self) -> None:
        """Let another process have it."""
        self._file.close()


def _give_up(_number: int, _frame: object) -> None:
    raise TimeoutError
