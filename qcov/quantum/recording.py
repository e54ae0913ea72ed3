"""What the call path keeps of each circuit: references only, made into a record on demand.

A qelectron remembers many circuits, so what is filed is small: of a large result its beginning, of
an error its text, of a result that is not to be kept nothing. A circuit itself takes several
kilobytes; `CircuitRun.compact` leaves its structure, which it shares with others, and its
parameters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from qcov import records
from qcov.context import Context
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitResult
from qcov.quantum.cache import CircuitCache
from qcov.quantum.circuit_data import cut, has_arrays, parameters_of, plain
from qcov.quantum.circuit_structure import CircuitStructure, structure_of

_HISTORY = 1000  #: circuits that a qelectron remembers


@dataclass(slots=True, kw_only=True)
class Caller:
    """The qelectron that asks, and what it remembers."""

    qelectron: str
    description: str | None
    cache: CircuitCache | None = None  #: of results, if it wants one
    history: deque[CircuitRun] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def __reduce__(self) -> tuple[Any, ...]:
        # The history stays where it was made.
        return _caller, (self.qelectron, self.description, self.cache)


def _caller(qelectron: str, description: str | None, cache: CircuitCache | None) -> Caller:
    return Caller(qelectron=qelectron, description=description, cache=cache)


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is kept of an exception: with its traceback it would keep all that it passed alive."""

    text: str


@dataclass(frozen=True, slots=True)
class _Summary:
    """What a record says of a circuit."""

    shots: int | None
    wires: int
    structure: CircuitStructure | None = None
    parameters: list[Any] | None = None


@dataclass(slots=True, kw_only=True)
class CircuitRun:
    """One circuit that ran."""

    caller: Caller
    context: Context | None
    circuit: Circuit | _Summary
    executor: BaseQExecutor
    outcome: Any  #: a result, a `CircuitResult`, or an exception; what is kept of it, once filed
    queued: float
    started: float
    finished: float
    share: float  #: seconds of its batch
    before: tuple[records.Attempt, ...] = ()  #: earlier tries, all of which failed
    kind: str | None = None  #: of its error
    diff_method: str | None = None  #: what it was run for
    cache: str | None = None  #: what its cache said, if it was asked
    id: str = field(default_factory=records.next_id)

    def __post_init__(self) -> None:
        try:
            self.outcome = _kept(self.outcome, self.executor.persist_data)
        except Exception as error:  # noqa: BLE001  # whoever asked for the circuit gets its result
            self.outcome = _no_record(error)
        if not isinstance(self.circuit, _Summary) and has_arrays(self.circuit):
            self.compact()

    def compact(self) -> None:
        """Let go of the circuit; what the record says of it stays."""
        self.circuit = self._summary()

    def to_dict(self, known: set[str]) -> dict[str, object]:
        """Give the record as plain data; see `records.CircuitRecord` for the fields.

        Never raises: where something of a circuit cannot be made data, the record's error says so.
        """
        summary = self._summary()
        try:
            return {**self._asked(), **self._ran(summary), **self._persisted(summary, known)}
        except Exception as error:  # noqa: BLE001  # users' objects raise what they like
            nothing = {"structure": None, "shots": None, "wires": 0}
            return {**self._asked(), **nothing, "error": _no_record(error).text}

    def to_record(self) -> records.CircuitRecord:
        """The record by itself."""
        return records.CircuitRecord.from_dict(self.to_dict(set()))

    def _summary(self) -> _Summary:
        circuit = self.circuit
        if isinstance(circuit, _Summary):
            return circuit
        try:
            return _summary_of(circuit, self.executor.persist_data)
        except Exception as error:  # noqa: BLE001  # users' objects raise what they like
            self.outcome = _no_record(error)
            return _Summary(shots=None, wires=0)

    def _asked(self) -> dict[str, object]:
        return {
            "id": self.id,
            "dispatch_id": self.context.dispatch_id if self.context else None,
            "node_id": self.context.node_id if self.context else None,
            "qelectron": self.caller.qelectron,
            "description": self.caller.description,
            "executor": type(self.executor).__name__,
            "queued": self.queued,
            "started": self.started,
            "finished": self.finished,
            "diff_method": self.diff_method,
            "cache": self.cache,
        }

    def _ran(self, summary: _Summary) -> dict[str, object]:
        more = self._result()
        message = more.value.text if isinstance(more.value, _Failure) else None
        seconds = self.share if more.execution_time is None else more.execution_time
        attempt = {
            "executor": self.executor.name,
            "number": len(self.before) + 1,
            "started": self.started,
            "finished": self.finished,
            "job_id": _text(more.job_id),
            "error": message,
            **({"kind": self.kind} if self.kind else {}),
        }
        return {
            "executor": self.executor.name,
            "device": _text(more.device or getattr(self.executor, "device", None)),
            "backend": _text(more.backend),
            "shots": summary.shots,
            "wires": summary.wires,
            "execution_time": plain(float(seconds)),
            "job_id": attempt["job_id"],
            "attempts": [*map(asdict, self.before), attempt],
            "error": message,
            "cost": None if more.cost is None else plain(more.cost),
            "metadata": plain(more.metadata),
        }

    def _result(self) -> CircuitResult:
        outcome = self.outcome
        return outcome if isinstance(outcome, CircuitResult) else CircuitResult(value=outcome)

    def _persisted(self, summary: _Summary, known: set[str]) -> Mapping[str, object]:
        structure = summary.structure
        if structure is None:
            return dict.fromkeys(("structure", "structure_data", "parameters", "result"))
        value = self._result().value
        data = {
            "structure": structure.key,
            "structure_data": None if structure.key in known else structure.text,
            "parameters": summary.parameters,
            "result": None if isinstance(value, _Failure) else plain(value),
        }
        known.add(structure.key)
        return data


def _summary_of(circuit: Circuit, persist: bool) -> _Summary:
    shots = adapter.total_shots(circuit)
    if not persist:
        return _Summary(shots, len(circuit.wires))
    structure = structure_of(circuit)
    return _Summary(shots, structure.wires, structure, parameters_of(circuit))


def _kept(outcome: Any, persist: bool) -> Any:
    """What a qelectron remembers of an outcome."""
    if isinstance(outcome, CircuitResult):
        value, metadata = _kept(outcome.value, persist), cut(outcome.metadata)
        return replace(outcome, value=value, metadata=metadata)
    if isinstance(outcome, BaseException):
        return _Failure(records.error_text(outcome))
    return cut(outcome) if persist else None


def _no_record(error: Exception) -> _Failure:
    return _Failure(f"the record of this circuit could not be made: {records.error_text(error)}")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
