"""Reading what is sealed: payloads, graphs and results, checked against digests and seals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

import sqlalchemy as sa

from qcov.errors import DispatchNotFound, IntegrityError
from qcov.store.asking import Asking, Row, in_parts
from qcov.store.blobs import Payloads
from qcov.store.database import Database
from qcov.store.schema import blobs, dispatches, memo, nodes
from qcov.transport import address, check_seal
from qcov.wire import unpack

_PARAMETERS = 500  #: of one statement; SQLite has a limit

_DISPATCH = sa.select(dispatches).where(dispatches.c.id == sa.bindparam("dispatch_id"))
_BLOB = sa.select(blobs.c.data).where(blobs.c.digest == sa.bindparam("digest"))
_BLOBS = sa.select(blobs.c.digest, blobs.c.data).where(
    blobs.c.digest.in_(sa.bindparam("digests", expanding=True))
)


class Sealed(Asking):
    """Reads payloads, and what names them.

    Args:
        database: Where rows are.
        where: What people call it.
        payloads: Where large payloads are.
        key: What seals are made with.
    """

    def __init__(self, database: Database, where: str, payloads: Payloads, key: bytes) -> None:
        super().__init__(database, where)
        self.payloads, self._key = payloads, key

    def _dispatch(self, dispatch_id: str, query: sa.Select[Any] = _DISPATCH) -> Row:
        row = self._one(query, dispatch_id=dispatch_id)
        if row is None:
            raise DispatchNotFound(dispatch_id=dispatch_id, where=self.where)
        return row

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
        row = self._dispatch(dispatch_id)
        check_seal(self._key, row["manifest_seal"], row["manifest"], dispatch_id, "manifest")
        return cast("Row", unpack(self.blob(row["manifest"])))

    def get_edges(self, dispatch_id: str) -> list[tuple[int, int, str]]:
        """Source, target and label of every edge of a dispatch's graph."""
        return [
            (int(source), int(target), str(label))
            for source, target, label in self.manifest(dispatch_id)["edges"]
        ]

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
        return self.checked_result(self._dispatch(dispatch_id))

    def checked_result(self, row: Row) -> str | None:
        """What `result_digest` says of the dispatch with this row."""
        if row["result"] is not None:
            check_seal(self._key, row["result_seal"], row["result"], row["id"], "result")
        return cast("str | None", row["result"])

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
        this = (nodes.c.dispatch_id == dispatch_id) & (nodes.c.node_id == node_id)
        row = self._one(sa.select(nodes.c.output, nodes.c.output_seal).where(this))
        if row is None or row["output"] is None:
            return None
        check_seal(self._key, row["output_seal"], row["output"], dispatch_id, node_id)
        return cast("str", row["output"])

    def check_trigger(self, row: Row) -> None:
        """Raise `IntegrityError` for a trigger that was made elsewhere."""
        check_seal(self._key, row["object_seal"], row["object"], row["id"], "trigger")

    def remembered(self, keys: Iterable[str]) -> Iterator[Row]:
        """The values that were kept under these keys; those whose seals are not ours left out."""
        for some in in_parts(keys, _PARAMETERS):
            for row in self._all(sa.select(memo).where(memo.c.key.in_(some))):
                place = ("memo", row["key"], row["dispatch_id"], row["output_key"])
                with contextlib.suppress(IntegrityError):
                    check_seal(self._key, row["output_seal"], row["output"], *place)
                    yield row
