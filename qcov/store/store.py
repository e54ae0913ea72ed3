"""The store: where dispatches live.

One process opens it for writing (`open_store`) and owns it until it ends; any thread may read.
The database is behind `database`, through SQLAlchemy Core; small payloads are in it, large ones
are files or objects.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from qcov.errors import StoreUnavailable
from qcov.store.asking import Row
from qcov.store.blobs import INLINE_LIMIT, open_payloads
from qcov.store.changes import Changes
from qcov.store.circuit_reading import CircuitReading
from qcov.store.database import open_database
from qcov.store.folder import identity, installation_key, prepare_folder
from qcov.store.leases import Fence, Leases
from qcov.store.migrations import migrate
from qcov.store.schema import sealing
from qcov.store.writer import Done, Writer
from qcov.transport import seal

_log = logging.getLogger("qcov.store")


class Store(CircuitReading):
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
        large = open_payloads(payloads or str(folder / "blobs"))
        prepare_folder(folder, url)
        large.check()
        self._key_file = seal_key or folder / "seal.key"
        key = installation_key(self._key_file)
        database = open_database(folder, url)
        super().__init__(database, database.name if url else str(folder), large, key)
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
