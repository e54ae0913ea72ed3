"""How dispatches are exported: few at a time, so that others are still answered quickly."""

from __future__ import annotations

import threading
from pathlib import Path

from qcov.classical.engine.crate import write_crate
from qcov.errors import ServerBusy
from qcov.store.store import Store

MOST = 2  #: exports that are written at a time


class Exporting:
    """Writes dispatches as research objects.

    Args:
        store: Where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._free = threading.BoundedSemaphore(MOST)

    def export(self, dispatch_id: str, path: Path) -> None:
        """Write a dispatch as `write_crate` does; any thread may call it.

        Raises `ServerBusy` while so many are written, and what `write_crate` raises.
        """
        if not self._free.acquire(blocking=False):
            raise ServerBusy(what="exports are being written", limit=MOST)
        try:
            write_crate(self._store, dispatch_id, path)
        finally:
            self._free.release()
