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

_ANSWERS_WITHIN = 20.0  # seconds that a server has for one transaction when the store is closed

_PAUSE = 0.001  # seconds
_NOTHING: Set[Held] = frozenset()
_NO_EPOCHS: Epochs = {}
_TRIES = 5  # of a transaction that met another one, or a connection that was dead
_RETRY_AFTER = 0.5  # seconds between tries while the disk refuses what must not be lost
_PATIENCE = 10.0  # seconds; then those who need not wait are told that there is no answer
_UNKNOWN = (
    "the connection was lost while a change was committed, and whether it was is not known ({})"
)
_LOOK = "When the server is back, look whether it is there (`qcov ls`) before you try again."


class _Unanswered(Exception):
    """Nobody can say now whether a transaction was committed."""


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
        self._groups = 0  # that were committed, or refused
        self._then: Callable[[], None] | None = None
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

    def close(self, then: Callable[[], None] | None = None) -> bool:
        """Commit what is queued, call `then` and stop; False if the server answers no more."""
        self._then = then
        self._queue.put(None)
        seen = -1
        while self._thread.is_alive() and seen != self._groups:
            seen = self._groups
            self._thread.join(_ANSWERS_WITHIN if self._database.shared else None)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while committed := self._commit_next():
            self._groups += 1
            if committed > 1:  # let more gather: fewer transactions leave more time for electrons
                time.sleep(_PAUSE)
        self._groups += 1
        if self._then is not None:
            self._then()

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
            lost = self._try(group)
        except Exception as error:  # noqa: BLE001  # the driver has many kinds; the thread must live on
            if isinstance(error, _Unanswered):
                for request in group:
                    self._tell(request, self._refusal(error))
            elif len(group) > 1:  # find the one that spoils it; those that may wait come last
                for request in sorted(group, key=lambda request: request.keep):
                    self._commit([request])
            elif group:
                self._refuse(group[0], error)
            return
        for request in group:
            self._tell(request, _refused(request, lost))

    def _try(self, group: list[_Request]) -> Set[Held]:
        """Write a group; again if nothing was written, for a reason that has gone with it."""
        for _ in range(_TRIES - 1):
            whole = not self._database.broken(self._connection)
            try:
                return self._write(group)
            except _Unanswered:
                raise
            except Exception as error:
                broke = whole and self._database.broken(self._connection)
                if not (broke or self._database.gave_way(error)):
                    raise
        return self._write(group)

    def _write(self, group: list[_Request]) -> Set[Held]:
        """Write a group, without what is about other engines' dispatches; return these.

        Whoever was told meanwhile what became of a request is no more in the group.
        """
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
            self._end(cursor, mark, group)
        finally:
            if self._database.in_transaction(self._connection):
                cursor.execute("ROLLBACK")
        return lost

    def _end(self, cursor: Any, mark: object, group: list[_Request]) -> None:
        try:
            cursor.execute("COMMIT")
        except Exception as error:
            if not self._database.broken(self._connection):
                raise
            if not self._was_committed(mark, group, lost=error):
                raise

    def _was_committed(self, mark: object, group: list[_Request], lost: Exception) -> bool:
        """Whether a transaction is in the database that nothing was heard of at its end.

        It must not be written twice, nor called lost if it is there: what must be kept waits for
        the answer, and whoever does not wait is told that there is none.
        """
        until = time.monotonic() + _PATIENCE
        while (known := self._answer(mark)) is None:
            if time.monotonic() > until:
                for request in group:
                    if not request.keep:
                        self._tell(request, self._refusal(_Unanswered(lost)))
                group[:] = [request for request in group if request.keep]
            if not (group and self._waiting(lost)):
                raise _Unanswered(lost)
            time.sleep(_RETRY_AFTER)
        return known

    def _answer(self, mark: object) -> bool | None:
        try:
            return self._database.committed(mark)
        except Exception as error:
            if self._database.passes(error):
                return None
            raise _Unanswered(error) from error

    def _lost(self, cursor: Any, group: list[_Request]) -> Set[Held]:
        if self._fence is None:
            return _NOTHING
        new = {row["id"] for request in group for row in request.changes.get("dispatch", ())}
        return self._fence.lost(cursor, [request.epochs for request in group], new)

    def _refuse(self, request: _Request, error: Exception) -> None:
        if request.keep and self._database.passes(error):
            _log.warning("the store takes no changes, they wait: %s", error)
        while request.keep and self._database.passes(error) and self._waiting(error):
            time.sleep(_RETRY_AFTER)
            try:
                lost = self._write([request])
            except Exception as again:  # noqa: BLE001  # as above
                error = again
            else:
                _log.info("the store takes changes again")
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
        if isinstance(error, _Unanswered):
            reason = _UNKNOWN.format(self._database.reason(error))
            return StoreUnavailable(path=self._path, reason=reason, advice=_LOOK)
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
