"""How circuits fared on each executor, counted by the hour.

What is stored is read once and then read on. Lengths of time are kept as how often each came, in
steps of a tenth, so that percentiles of millions need little memory; they are right within 5 %.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_STEP = math.log(1.1)
_CHUNK = 2000  # circuits that are read at a time
_REST = 0.001  # seconds after each, in which others of this process may run
_PATIENCE = 0.5  # seconds that a page waits for what is new
_RECENT = 20  # circuits that say how an executor does now
HOUR = 3600

Row = Mapping[str, Any]
Read = Callable[[int, int], Sequence[Row]]


@dataclass(slots=True)
class Lengths:
    """Lengths of time: how often each came, in steps."""

    steps: Counter[int] = field(default_factory=Counter[int])

    def add(self, seconds: float) -> None:
        """One more."""
        self.steps[round(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def percentile(self, share: float) -> float | None:
        """The length that this share of all is not above; None without any.

        >>> lengths = Lengths()
        >>> for seconds in range(1, 101):
        ...     lengths.add(float(seconds))
        >>> 47 < lengths.percentile(0.5) < 53
        True
        """
        left = share * self.steps.total()
        for step in sorted(self.steps):
            left -= self.steps[step]
            if left <= 0:
                return math.exp(step * _STEP)
        return None


@dataclass(slots=True)
class Tally:
    """What is counted of some circuits."""

    circuits: int = 0
    failed: int = 0
    queue: Lengths = field(default_factory=Lengths)
    run: Lengths = field(default_factory=Lengths)

    def add(self, row: Row) -> None:
        """One more circuit."""
        record = row["record"]
        self.circuits += 1
        self.failed += record.get("error") is not None
        if record.get("cache") == "hit":  # it took no time of the executor
            return
        waited, ran = _lengths(row["execution_time"], record)
        if waited is not None:
            self.queue.add(waited)
        if ran is not None:
            self.run.add(ran)

    def take(self, other: Tally) -> None:
        """Those of another tally too."""
        self.circuits += other.circuits
        self.failed += other.failed
        self.queue.steps.update(other.queue.steps)
        self.run.steps.update(other.run.steps)


def _lengths(ran: float | None, record: Row) -> tuple[float | None, float | None]:
    """How long a circuit waited, at its provider too, and how long it ran.

    Where the executor does not say how long it ran, or says 0, all that was no waiting is that.
    """
    queued, started, finished = (record.get(name) for name in ("queued", "started", "finished"))
    metadata: Row = record.get("metadata") or {}
    timing: Row = metadata.get("timing") or {}
    there = float(timing.get("queue") or 0.0)
    waited = None if queued is None or started is None else started - queued + there
    if not ran and started is not None and finished is not None:
        ran = max(0.0, finished - started - there)
    return waited, ran


@dataclass(slots=True)
class Executor:
    """One executor and device, or backend of its provider, which is called the device too.

    It has a tally for each hour, and how its latest circuits fared.
    """

    name: str
    device: str | None
    hours: dict[int, Tally] = field(default_factory=dict[int, Tally])
    recent: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=_RECENT))
    last_error: tuple[float, str] | None = None
    last: float = 0.0  #: when its last circuit ended

    def add(self, row: Row) -> None:
        """One more circuit."""
        record = row["record"]
        when = float(record.get("finished") or record.get("queued") or 0.0)
        self.hours.setdefault(int(when // HOUR), Tally()).add(row)
        self.recent.append(record.get("error") is None)
        self.last = max(self.last, when)
        if record.get("error") is not None:
            self.last_error = (when, str(record["error"]))

    def since(self, moment: float) -> Tally:
        """What is counted of the hours since then."""
        whole = Tally()
        for hour, tally in self.hours.items():
            if hour >= moment // HOUR:
                whole.take(tally)
        return whole


class Counts:
    """All executors of a store. What has been counted stays so when its dispatch is removed."""

    def __init__(self) -> None:
        self.counted = 0  #: circuits
        self._last = 0
        self._lock = threading.Lock()
        self._counting = ThreadPoolExecutor(1, "qcov-counts")
        self._under_way: Future[None] | None = None
        self._executors: dict[tuple[str, str | None], Executor] = {}

    @contextmanager
    def executors(self, read: Read) -> Generator[tuple[list[Executor], bool], None, None]:
        """Read on for a moment; all executors, the one used last first, and whether that is all.

        They do not change within the context. Reading goes on after it if need be.

        Args:
            read: Gives the circuits after a number, at most so many.
        """
        with self._lock:
            if self._under_way is None or self._under_way.done():
                self._under_way = self._counting.submit(self._count, read)
            under_way = self._under_way
        with suppress(TimeoutError):
            under_way.result(_PATIENCE)
        with self._lock:
            found = sorted(self._executors.values(), key=lambda executor: -executor.last)
            yield found, under_way.done()

    def _count(self, read: Read) -> None:
        while rows := read(self._last, _CHUNK):
            with self._lock:
                for row in rows:
                    key = (row["executor"], row["device"] or row["record"].get("backend"))
                    if key not in self._executors:
                        self._executors[key] = Executor(*key)
                    self._executors[key].add(row)
                self._last = rows[-1]["number"]
                self.counted += len(rows)
            if len(rows) < _CHUNK:
                return
            time.sleep(_REST)
