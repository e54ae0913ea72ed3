"""The one writer: a thread that commits what has queued up, as one transaction.

While a transaction is flushed to the disk the next one gathers, so durability costs the same for
one electron as for a hundred. A commit survives a power cut.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from qcov.errors import LeaseLost, QcovError, StoreError, StoreUnavailable
from qcov.store.changes import Changes, compile_statements, merge
from qcov.store.database import Database
from qcov.store.leases import Epochs, Fence, Held

#: Told once its changes are on disk (None), or why they are not.
Done = Callable[[QcovError | None], None]

_log = logging.getLogger("qcov.store")

_PAUSE = 0.001  # seconds
_NOTHING: Set[Held] = frozenset()
_NO_EPOCHS: Epochs = {}
_RETRY_AFTER = 0.5  # seconds between tries while the disk refuses what must not be lost
_ASKED_AGAIN = 20  # times, what became of a transaction: a server is back by then, or away for long


@dataclass(frozen=True, slots=True)
class _Request:
    changes: Changes
    done: Done | None
    keep: bool
    epochs: Epochs


class Writer:
    """Commits changes in groups, in the order in which they came.

    A request with `keep=True` reports what has happened already and must not be lost: while the
    disk is full it waits and is tried again. Any other request is refused with its reason.
    """

    def __init__(self, database: Database, *, path: str, fence: Fence | None = None) -> None:
        self._database = database
        self._fence = fence
        self._connection = database.connect()
        self._path = path
        self._statements = compile_statements(
            database.insert, database.dialect, shared=fence is not None
        )
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._held: list[_Request] = []  # came while the disk was full
        self._thread = threading.Thread(target=self._run, name="qcov-writer", daemon=True)
        self._thread.start()

    def put(
        self,
        changes: Changes,
        done: Done | None = None,
        *,
        keep: bool = True,
        epochs: Epochs = _NO_EPOCHS,
    ) -> None:
        """Queue `changes`; `done` is called in the writer's thread.

        Changes that were made under other epochs than those in the database are refused with
        `LeaseLost`.
        """
        self._queue.put(_Request(changes, done, keep, epochs))

    def close(self) -> None:
        """Commit what is queued, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while committed := self._commit_next():
            if committed > 1:  # let more gather: fewer transactions leave more time for electrons
                time.sleep(_PAUSE)

    def _commit_next(self) -> int:
        """Wait for changes and commit them; returns how many requests that were, 0 at the end.

        Whoever waits for the next ones holds nothing of these: a dispatch hangs on them.
        """
        group = self._gather() or []
        if group:
            self._commit(group)
        return len(group)

    def _gather(self) -> list[_Request] | None:
        group, self._held = self._held, []
        while not group or not self._queue.empty():
            following = self._queue.get()
            if following is None and not group:
                return None
            if following is None:  # finish this group, then meet the sentinel again
                self._queue.put(None)
                break
            group.append(following)
        return group

    def _commit(self, group: list[_Request]) -> None:
        try:
            lost = self._write(group)
        except Exception as error:  # noqa: BLE001  # the driver has many kinds; the thread must live on
            if len(group) > 1:  # find the one that spoils it; those that may wait come last
                for request in sorted(group, key=lambda request: request.keep):
                    self._commit([request])
            else:
                self._refuse(group[0], error)
            return
        for request in group:
            self._tell(request, _refused(request, lost))

    def _write(self, group: list[_Request]) -> Set[Held]:
        """Write a group, without those that are about other engines' dispatches; return these."""
        if self._database.broken(self._connection):
            self._connection = self._database.connect()
        cursor = self._connection.cursor()
        try:
            cursor.execute(self._database.begin)
            lost = self._lost(cursor, group)
            mark = self._database.mark(cursor)
            kept = [request.changes for request in group if lost.isdisjoint(request.epochs.items())]
            for name, rows in merge(kept).items():
                cursor.executemany(self._statements[name], rows)
            self._end(cursor, mark)
        finally:
            if self._database.in_transaction(self._connection):
                cursor.execute("ROLLBACK")
        return lost

    def _end(self, cursor: Any, mark: object) -> None:
        try:
            cursor.execute("COMMIT")
        except Exception:
            if not (self._database.broken(self._connection) and self._was_committed(mark)):
                raise

    def _was_committed(self, mark: object) -> bool:
        """Whether a transaction is in the database that nothing was heard of at its end.

        It must not be written twice, nor called lost if it is there.
        """
        for _ in range(_ASKED_AGAIN):
            try:
                known = self._database.committed(mark)
            except Exception as error:
                if not self._database.passes(getattr(error, "orig", None) or error):
                    raise
            else:
                if known is not None:
                    return known
            time.sleep(_RETRY_AFTER)
        return False

    def _lost(self, cursor: Any, group: list[_Request]) -> Set[Held]:
        if self._fence is None:
            return _NOTHING
        new = {row["id"] for request in group for row in request.changes.get("dispatch", ())}
        return self._fence.lost(cursor, [request.epochs for request in group], new)

    def _refuse(self, request: _Request, error: Exception) -> None:
        if request.keep and self._database.passes(error):
            _log.warning("waiting for the disk: %s", error)
        while request.keep and self._database.passes(error) and self._waiting(error):
            time.sleep(_RETRY_AFTER)
            try:
                lost = self._write([request])
            except Exception as again:  # noqa: BLE001  # as above
                error = again
            else:
                _log.info("the disk takes changes again")
                self._tell(request, _refused(request, lost))
                return
        self._tell(request, self._refusal(error))

    def _waiting(self, error: Exception) -> bool:
        """While the disk is full: refuse what need not be kept; False when it is time to stop."""
        while not self._queue.empty():
            following = self._queue.get()
            if following is None:
                self._queue.put(None)
                return False
            if following.keep:
                self._held.append(following)
            else:
                self._tell(following, self._refusal(error))
        return True

    def _refusal(self, error: Exception) -> QcovError:
        if self._database.passes(error):
            advice, reason = self._database.advice, self._database.reason(error)
            return StoreUnavailable(path=self._path, reason=reason, advice=advice)
        return StoreError(f"the store refused a change: {error}")

    @staticmethod
    def _tell(request: _Request, error: QcovError | None) -> None:
        if request.done:
            request.done(error)
        elif error is not None:  # nobody waits for it: let it not pass in silence
            _log.error("%s", error)


def _refused(request: _Request, lost: Set[Held]) -> LeaseLost | None:
    others = [held[0] for held in request.epochs.items() if held in lost]
    return LeaseLost(dispatches=others) if others else None
