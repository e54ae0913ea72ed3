"""What a store holds, read without qcov."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

Row = dict[str, Any]
#: Where a node is: its root's name, and the numbers of the nodes on the way down to it.
Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The rows of a store, and what its database says of itself."""

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


def read(url: str, payloads: Path) -> Contents | None:
    """Read it all; None if there are no tables yet.

    Args:
        url: Of the database.
        payloads: The folder with the large ones.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        _begin(connection)
        if not {"dispatches", "nodes", "blobs"} <= set(sa.inspect(connection).get_table_names()):
            return None

        def rows(query: str) -> list[Row]:
            return [dict(row) for row in connection.execute(sa.text(query)).mappings()]

        sound = [{"integrity_check": "ok"}]  # a server sees to it by itself
        if engine.name == "sqlite":
            sound = rows("PRAGMA integrity_check")
        dispatches, nodes = rows("SELECT * FROM dispatches"), rows("SELECT * FROM nodes")
        return Contents(
            dispatches={row["id"]: row for row in dispatches},
            nodes={(row["dispatch_id"], row["node_id"]): row for row in nodes},
            missing=_missing(rows, payloads),
            integrity=str(sound[0]["integrity_check"]),
        )


def read_folder(folder: Path) -> Contents | None:
    """The same of a data folder with a file of SQLite's; None if there is none yet."""
    path = folder / "qcov.sqlite"
    return read(f"sqlite:///{path}?timeout=30", folder / "blobs") if path.exists() else None


def _begin(connection: sa.Connection) -> None:
    """All that is read from now on is of one moment."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _missing(rows: Callable[[str], list[Row]], payloads: Path) -> list[str]:
    """Digests that a row names, and whose bytes are not there."""
    blobs = {row["digest"]: row["data"] for row in rows("SELECT * FROM blobs")}
    named = rows(
        "SELECT output AS digest FROM nodes UNION SELECT manifest FROM dispatches "
        "UNION SELECT result FROM dispatches"
    )
    digests = {row["digest"] for row in named if row["digest"] is not None} | set(blobs)
    return sorted(digest for digest in digests if not _there(digest, blobs, payloads))


def _there(digest: str, blobs: dict[str, bytes | None], payloads: Path) -> bool:
    data = blobs.get(digest)
    if data is None and digest in blobs:
        with contextlib.suppress(FileNotFoundError):
            data = (payloads / digest[:2] / digest).read_bytes()
    return data is not None and hashlib.sha256(data).hexdigest() == digest
