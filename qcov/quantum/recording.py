"""What the call path keeps of each circuit: references only, made into a record on demand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qcov import records
from qcov.context import Context
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitResult
from qcov.quantum.circuit_data import parameters_of, plain, structure_of

_HISTORY = 1000  #: circuits that a qelectron remembers


@dataclass(slots=True, kw_only=True)
class Caller:
    """The qelectron that asks, and what it remembers."""

    qelectron: str
    description: str | None
    history: deque[CircuitRun] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def __reduce__(self) -> tuple[Any, ...]:
        return _caller, (self.qelectron, self.description)  # the history stays where it was made


def _caller(qelectron: str, description: str | None) -> Caller:
    return Caller(qelectron=qelectron, description=description)


@dataclass(slots=True, kw_only=True)
class CircuitRun:
    """One circuit that ran."""

    caller: Caller
    context: Context | None
    circuit: Circuit
    executor: BaseQExecutor
    outcome: Any  #: a result, a `CircuitResult`, or an exception
    queued: float
    started: float
    finished: float
    share: float  #: seconds of its batch
    id: str = field(default_factory=records.next_id)

    def to_dict(self, known: set[str]) -> dict[str, object]:
        """Give the record as plain data; see `records.CircuitRecord` for the fields."""
        outcome = self.outcome
        more = outcome if isinstance(outcome, CircuitResult) else CircuitResult(value=outcome)
        error = more.value if isinstance(more.value, BaseException) else None
        message = None if error is None else f"{type(error).__name__}: {error}"
        return {
            "id": self.id,
            "dispatch_id": self.context.dispatch_id if self.context else None,
            "node_id": self.context.node_id if self.context else None,
            "qelectron": self.caller.qelectron,
            "description": self.caller.description,
            "executor": self.executor.name,
            "device": more.device or getattr(self.executor, "device", None),
            "backend": more.backend,
            "shots": adapter.total_shots(self.circuit),
            "wires": len(self.circuit.wires),
            **self._persisted(known, None if error else more.value),
            "queued": self.queued,
            "started": self.started,
            "finished": self.finished,
            "execution_time": self.share if more.execution_time is None else more.execution_time,
            "job_id": more.job_id,
            "attempts": [
                {
                    "executor": self.executor.name,
                    "number": 1,
                    "started": self.started,
                    "finished": self.finished,
                    "job_id": more.job_id,
                    "error": message,
                }
            ],
            "error": message,
            "cost": None,
            "metadata": plain(more.metadata),
        }

    def to_record(self) -> records.CircuitRecord:
        """The record by itself."""
        return records.CircuitRecord.from_dict(self.to_dict(set()))

    def _persisted(self, known: set[str], value: Any) -> Mapping[str, object]:
        if not self.executor.persist_data:
            return dict.fromkeys(("structure", "structure_data", "parameters", "result"))
        structure, text = structure_of(self.circuit)
        new = structure not in known
        known.add(structure)
        return {
            "structure": structure,
            "structure_data": text if new else None,
            "parameters": parameters_of(self.circuit),
            "result": plain(value),
        }
