"""A provider that an executor has connected to: made on first use, and at home in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from qcov.qexecutors.pace import Pace
from qcov.qexecutors.provider import Provider
from qcov.records import process_id


class Connection:
    """A provider, connected on first use. Copies, pickles and forked children connect anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._provider: Provider | None = None
        self._pace: Pace | None = None
        self._process = process_id()

    def get(self, connect: Callable[[], Provider]) -> Provider:
        """The provider; `connect` makes it the first time."""
        with self._lock:
            if self._provider is None or self._process != process_id():
                self._provider, self._process = connect(), process_id()
            return self._provider

    def pace(self, per_second: float | None) -> Pace | None:
        """What all requests of this process keep to; None for no limit."""
        if per_second is not None and self._pace is None:
            self._pace = Pace(per_second)
        return self._pace

    def __reduce__(self) -> tuple[type[Connection], tuple[()]]:
        return Connection, ()

    def __copy__(self) -> Connection:
        return Connection()

    def __deepcopy__(self, _memo: object) -> Connection:
        return Connection()
