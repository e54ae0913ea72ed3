"""What is remembered of circuits, and the sinks that it flows into.

The quantum half calls `record` with entries that only hold references: that is all that a fast
call can afford. An entry is turned into plain data when somebody drains a sink or looks at a
history. Whoever runs electrons collects:

    with records.collecting() as sink:
        run_the_electron()
    for data in sink.drain():
        send(data)

A record is data all the way: its structure is text that is sent once per sink, its parameters
travel beside it, and drawings, OpenQASM and specs are derived from the two without unpickling.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from threading import Lock
from typing import Any, Protocol, TypeVar, cast

from qcov import diagrams

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a circuit on one executor."""

    executor: str
    number: int  #: 1 for the first
    started: float | None = None  #: unix seconds
    finished: float | None = None  #: unix seconds
    job_id: str | None = None  #: the provider's id, once submitted
    error: str | None = None
    kind: str | None = None  #: "transient", "permanent", "quota" or "offline", if it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRecord:
    """One circuit that ran: who asked, where it ran, when, and what came back.

    Args:
        id: Unique over processes and machines.
        dispatch_id: The dispatch whose electron asked, if one did.
        node_id: The node of that electron.
        qelectron: The name of the qelectron.
        description: Its description.
        executor: The class of the executor that ran the circuit.
        device: The device that the executor ran it on.
        backend: The provider's backend, where there is one.
        shots: Total number of shots; None for an analytic circuit.
        wires: How many wires the circuit has.
        structure: Canonical key of the circuit without its parameters; the same in every process.
        structure_data: JSON text of operations, wires and measurements; None if not persisted.
        parameters: The parameters of all operations, in order; None if not persisted.
        result: What came back, as plain data, cut to a limit; None if not persisted.
        queued: When it was asked for, in unix seconds.
        started: When its executor began, in unix seconds.
        finished: When its result was there, in unix seconds.
        execution_time: Seconds on the executor; its share if it ran within a batch.
        job_id: The provider's job.
        attempts: All tries, the last one included.
        error: Why it failed, or why there is no more of this record; None if neither.
        cost: What it cost, as data; None where nothing is charged.
        metadata: What else the executor said.
        diff_method: How the circuit was differentiated, or for which derivative it ran: "backprop",
            "adjoint", "parameter-shift", "finite-diff", ...; None if for none.
        cache: "hit" if the result came from a `CircuitCache`, "stored" if it was put there, "not
            cached: ..." with the reason if neither; None if no cache was asked.
    """

    id: str
    qelectron: str
    executor: str
    structure: str | None
    shots: int | None
    wires: int
    queued: float
    dispatch_id: str | None = None
    node_id: int | None = None
    description: str | None = None
    device: str | None = None
    backend: str | None = None
    structure_data: str | None = None
    parameters: list[Any] | None = None
    result: Any = None
    started: float | None = None
    finished: float | None = None
    execution_time: float | None = None
    job_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None
    cost: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    diff_method: str | None = None
    cache: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CircuitRecord:
        """Rebuild a record from what a sink gave; keys that it does not know are ignored."""
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        attempts = cast("Sequence[Mapping[str, Any]]", data.get("attempts") or ())
        values["attempts"] = tuple(Attempt(**attempt) for attempt in attempts)
        return cls(**values)

    @property
    def drawing(self) -> str | None:
        """The circuit as text, a line per wire; None if it was not persisted."""
        return self._derive(diagrams.draw)

    @property
    def openqasm(self) -> str | None:
        """The circuit in OpenQASM 2.0; None if not persisted or a gate has no name there."""
        return self._derive(diagrams.openqasm)

    @property
    def specs(self) -> dict[str, Any] | None:
        """Counts of gates by name and by size, depth, wires, parameters and measurements."""
        return self._derive(diagrams.specs)

    def _derive(self, view: Callable[[diagrams.Structure, Sequence[Any]], _T]) -> _T | None:
        if self.structure_data is None:
            return None
        return view(diagrams.parse(self.structure_data), self.parameters or [])


class Entry(Protocol):
    """What a sink keeps until it is drained."""

    def to_dict(self, known: set[str]) -> dict[str, object]:
        """Give plain data; leave out the text of structures in `known` and add new ones to it.

        Never raises: a sink hands over what others asked for together with it.
        """
        ...

    def compact(self) -> None:
        """Let go of what takes much memory; `to_dict` gives the same after."""
        ...


class Sink:
    """Collects entries from every thread of this process, and turns them into data."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._fresh: deque[Entry] = deque()  #: the last ones, not yet compact
        self._known: set[str] = set()
        self._draining = Lock()

    def drain(self) -> list[dict[str, object]]:
        """What was recorded since the last drain, oldest first, as JSON-able dictionaries."""
        with self._draining:
            count = len(self._fresh)
            self._entries.extend(self._fresh.popleft() for _ in range(count))
            entries, self._entries = self._entries, deque()
            return [entry.to_dict(self._known) for entry in entries]

    def extend(self, entries: Iterable[Entry]) -> None:
        """Take in more entries."""
        self._fresh.extend(entries)
        if len(self._fresh) > _MAX_FRESH and self._draining.acquire(blocking=False):
            try:
                self._compact_oldest()
            finally:
                self._draining.release()

    def _compact_oldest(self) -> None:
        while len(self._fresh) > _MAX_FRESH // 2:
            entry = self._fresh.popleft()
            entry.compact()
            self._entries.append(entry)


_MAX_FRESH = 512


_sinks: tuple[Sink, ...] = ()
_changing = Lock()


@contextmanager
def collecting() -> Generator[Sink, None, None]:
    """Make everything that is recorded meanwhile, in any thread, flow into a sink.

    >>> with collecting() as sink:
    ...     record([])
    >>> sink.drain()
    []
    """
    global _sinks
    sink = Sink()
    with _changing:
        _sinks = (*_sinks, sink)
    try:
        yield sink
    finally:
        with _changing:
            _sinks = tuple(other for other in _sinks if other is not sink)


def record(entries: Sequence[Entry]) -> None:
    """Hand entries to every sink that collects now."""
    for sink in _sinks:
        sink.extend(entries)


_trouble: list[Callable[[dict[str, Any]], None]] = []


def on_trouble(told: Callable[[dict[str, Any]], None]) -> None:
    """Have `told` called when an executor is left alone for a while, or is asked again."""
    _trouble.append(told)


def trouble(executor: str, device: str | None, pause: float | None, reason: str) -> None:
    """An executor's circuit breaker has opened for `pause` seconds, or closed (None).

    Args:
        executor: The class of the executor.
        device: Its device, if it has one.
        pause: Seconds.
        reason: What went wrong last.
    """
    about = {"executor": executor, "device": device, "pause": pause, "reason": reason}
    for told in _trouble:
        told(about)


_unfinished: list[Callable[[], None]] = []


def before_the_end(wait: Callable[[], None]) -> None:
    """Have `wait` called before an electron ends: it returns once nothing is left to record."""
    _unfinished.append(wait)


def finish() -> None:
    """Wait until everything that runs has been recorded."""
    for wait in _unfinished:
        wait()


def error_text(error: BaseException) -> str:
    """An error as records keep it: its class and what it says.

    >>> error_text(ValueError("no"))
    'ValueError: no'
    """
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception:  # noqa: BLE001  # its __str__ is the user's
        return kind


# -- ids ---------------------------------------------------------------------------------------

_numbers = itertools.count()
_process = secrets.token_hex(8)


def next_id() -> str:
    """An id that no other process and no other machine gives: cheaper than a UUID.

    >>> next_id() != next_id()
    True
    """
    return f"{_process}{next(_numbers):012x}"


def process_id() -> str:
    """What no other process is called, on this machine or another."""
    return _process


def _new_process() -> None:
    global _process
    _process = secrets.token_hex(8)


os.register_at_fork(after_in_child=_new_process)
