"""Batches of circuits on Qiskit's samplers of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcov.qexecutors.base import CircuitBatch, CircuitResult

if TYPE_CHECKING:
    from qcov.qexecutors.qiskit_local import LocalBackend, LocalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """How batches run here.

    Args:
        executor: Who asks.
        device: What records call the primitive.
        backend: Where.
        next_seed: Gives the seed of the next job.
        seconds: That a job may take.
    """

    executor: str
    device: str
    backend: LocalBackend
    next_seed: Callable[[], int | None]
    seconds: float | None = None

    def results(self, batch: CircuitBatch) -> list[Any]:
        """A result or an exception for each circuit; raises if the only one fails."""
        started = time.perf_counter()
        programs = self._translator().programs(batch)
        if not programs.pubs:
            return programs.read([])
        try:
            job = self.backend.run(programs.pubs, self.next_seed(), self.seconds)
        except Exception as error:
            if len(batch.circuits) == 1:
                raise
            circuits = range(len(batch.circuits))
            return [value for at in circuits for value in self._alone(batch.only([at]), error)]
        values = programs.read(job.results)
        share = (time.perf_counter() - started) / len(batch.circuits)
        return [self._result(value, job, share, len(values)) for value in values]

    def refusal(self, batch: CircuitBatch) -> str | None:
        """Why the backend cannot run a circuit; None if it can."""
        programs = self._translator().programs(batch)
        (value,) = (None,) if programs.pubs else programs.read([])
        return getattr(value, "reason", None)

    def _translator(self) -> Any:
        from qcov.qexecutors.qiskit_programs import Translator

        backend = self.backend
        return Translator(executor=self.executor, qubits=backend.qubits, dynamic=backend.dynamic)

    def _alone(self, batch: CircuitBatch, error: Exception) -> list[Any]:
        """One circuit of a job that failed: the others are not to blame for it."""
        if isinstance(error, TimeoutError):
            return [error]
        try:
            return self.results(batch)
        except Exception as own:  # noqa: BLE001  # it becomes the circuit's result
            return [own]

    def _result(self, value: Any, job: LocalJob, seconds: float, circuits: int) -> Any:
        """A circuit's value, with its share of the time that all of the job took."""
        if isinstance(value, Exception):
            return value
        timing = {"transpile": job.transpiling / circuits, "run": job.running / circuits}
        return CircuitResult(
            value=value,
            execution_time=seconds,
            device=self.device,
            backend=self.backend.name,
            job_id=job.id,
            metadata={"timing": timing},
        )
