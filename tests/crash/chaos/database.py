"""What a data folder holds, read without qcov."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
#: Where a node is: its root's name, and the numbers of the nodes on the way down to it.
Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The rows of a store, and what SQLite says of the file."""

    dispatches: dict[str, Row]
    nodes: dict[tuple[str, int], Row]
    missing: list[str]  #: digests whose bytes are not there, or are others
    integrity: str

    def trees(self) -> dict[str, dict[Place, Row]]:
        """For each dispatch of a user's: its nodes by where they are, the same in every run."""
        trees: dict[str, dict[Place, Row]] = {
            id_: {} for id_, row in self.dispatches.items() if row["parent_id"] is None
        }
        for (id_, number), row in self.nodes.items():
            trees[self.dispatches[id_]["root_id"]][*self._path_of(id_), number] = row
        return trees

    def _path_of(self, dispatch_id: str) -> Place:
        row = self.dispatches[dispatch_id]
        if row["parent_id"] is None:
            return (row["name"],)
        return (*self._path_of(row["parent_id"]), row["parent_node"])


def read(folder: Path) -> Contents | None:
    """Read it all; None if there is no database yet."""
    path = folder / "qcov.sqlite"
    if not path.exists() or path.stat().st_size == 0:
        return None
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if not {"dispatches", "nodes", "blobs"} <= {row["name"] for row in tables}:
            return None
        connection.execute("BEGIN")  # one moment for all of it
        dispatches = connection.execute("SELECT * FROM dispatches").fetchall()
        nodes = connection.execute("SELECT * FROM nodes").fetchall()
        return Contents(
            dispatches={row["id"]: dict(row) for row in dispatches},
            nodes={(row["dispatch_id"], row["node_id"]): dict(row) for row in nodes},
            missing=_missing(connection, folder),
            integrity=str(connection.execute("PRAGMA integrity_check").fetchone()[0]),
        )


def _missing(connection: sqlite3.Connection, folder: Path) -> list[str]:
    """Digests that a row names, and whose bytes are not there."""
    blobs = {row["digest"]: row["data"] for row in connection.execute("SELECT * FROM blobs")}
    named = connection.execute(
        "SELECT output FROM nodes UNION SELECT manifest FROM dispatches "
        "UNION SELECT result FROM dispatches"
    )
    digests = {row[0] for row in named if row[0] is not None} | set(blobs)
    return sorted(digest for digest in digests if not _there(digest, blobs, folder))


def _there(digest: str, blobs: dict[str, bytes | None], folder: Path) -> bool:
    data = blobs.get(digest)
    if data is None and digest in blobs:
        with contextlib.suppress(FileNotFoundError):
            data = (folder / "blobs" / digest[:2] / digest).read_bytes()
    return data is not None and hashlib.sha256(data).hexdigest() == digest
