"""Qiskit's samplers on this machine: exact, or with the noise of a real backend.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from qiskit.primitives import StatevectorSampler
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from qcov.context import get_context
from qcov.errors import CircuitError, CircuitTimedOut, InvalidSetting, suggest
from qcov.qexecutors.qiskit_fitting import Fitting, raw_results, sweeps_of
from qcov.qexecutors.qiskit_names import AER, STATEVECTOR, normal_name
from qcov.qexecutors.qiskit_pubs import Pub


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """What came of a job on this machine.

    Args:
        id: The job's.
        results: A raw one for each program.
        transpiling: Seconds that fitting all programs took.
        running: Seconds that the sampler took.
    """

    id: str
    results: list[Any]
    transpiling: float
    running: float


class LocalBackend:
    """A backend on this machine, with what fits circuits to it. Safe under threads.

    Args:
        name: "aer_simulator", "statevector", or a fake backend's.
        level: Of optimisation.
        passes: Keywords of the pass manager.
        simulator: Keywords of Aer's simulator.

    Raises:
        InvalidSetting: No backend has this name.
    """

    def __init__(
        self,
        name: str,
        level: int,
        passes: Mapping[str, Any],
        simulator: Mapping[str, Any],
        executor: str,
    ) -> None:
        self._executor = executor
        self._simulator = dict(simulator)
        self._own = threading.local()
        self.name, self.exact = name, name == STATEVECTOR
        self._backend = None if name in (AER, STATEVECTOR) else fake_backend(name, executor)
        if self._backend is not None:
            self.name = self._backend.name
            self._fitting = Fitting(backend=self._backend, level=level, passes=passes)
        else:
            # Aer takes parameters of crx, cry, crz and cp, and gives wrong results with them: seen
            # with 0.17.2. With numbers in their place all is right.
            target = None if self.exact else AerSimulator()
            self._fitting = Fitting(backend=target, level=0, parametrised=self.exact)

    @property
    def qubits(self) -> int | None:
        """How many there are; None if memory is the limit."""
        return None if self._backend is None else self._backend.num_qubits

    @property
    def dynamic(self) -> bool:
        """Whether it can measure in the midst of a circuit, and depend on what came."""
        if self._backend is None:
            return not self.exact
        return "if_else" in self._backend.operation_names

    def run(self, pubs: Sequence[Pub], seed: int | None, seconds: float | None) -> LocalJob:
        """Run programs as one job.

        Raises:
            CircuitTimedOut: It took longer than `seconds`.
            CircuitError: The simulator failed.
        """
        begun = time.perf_counter()
        sweeps = sweeps_of(map(self._fitting.fit, pubs))
        fitted = time.perf_counter()
        qubits = max(pub.structure.qubits for pub in pubs)
        job = self._sampler(seed, qubits).run([sweep.for_sampler() for sweep in sweeps])
        try:
            result = job.result() if seconds is None else _wait(job.result, seconds)
        except TimeoutError as error:
            raise CircuitTimedOut(executor=self._executor, seconds=seconds or 0.0) from error
        except ValueError as error:  # Aer has logged why, and tells only that shots are missing
            raise CircuitError(_NO_SHOTS, executor=self._executor) from error
        return LocalJob(
            id=job.job_id(),
            results=raw_results(result),
            transpiling=fitted - begun,
            running=time.perf_counter() - fitted,
        )

    def _sampler(self, seed: int | None, qubits: int) -> Any:
        if self.exact:
            return StatevectorSampler(seed=seed)
        threads = 1 if qubits < _THREADS_PAY_FROM else _cores()
        known: dict[Any, AerSimulator] = self._own.__dict__
        aer = known.get(threads)
        if aer is None:
            aer = known[threads] = self._aer(threads)
        return SamplerV2.from_backend(aer, seed=seed)

    def _aer(self, threads: int) -> AerSimulator:
        options = {"max_parallel_threads": threads, **self._simulator}
        if self._backend is None:
            return AerSimulator(**options)
        return AerSimulator.from_backend(self._backend, **options)


#: Below this Aer's threads get in each other's way: where other programs run too, by factors.
_THREADS_PAY_FROM = 14  # qubits; from here on Aer itself shares a state among them


def _cores() -> int:
    """How many threads a large circuit may have: an electron has a share of the cores."""
    context = get_context()
    return context.cores if context else 0  # Aer's word for all


_NO_SHOTS = (
    "the simulator gave no shots for it. Mostly the circuit needs more memory than there is: its "
    "log says so"
)


def _wait(ask: Callable[[], Any], seconds: float) -> Any:
    """What `ask` gives in time; a simulation that takes longer goes on in its thread."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="qcov-qiskit")
    try:
        return pool.submit(ask).result(seconds)
    finally:
        pool.shutdown(wait=False)


def fake_backend(name: str, executor: str) -> Any:
    """The fake backend with a name, in any of the ways in which it is written."""
    found = _fakes().get(normal_name(name))
    if found is None:
        known = [AER, STATEVECTOR, *(kind.backend_name for kind in _fakes().values())]
        reason = f"is no backend on this machine. {suggest(name, known)}"
        raise InvalidSetting(executor=executor, setting=f"backend={name!r}", reason=reason)
    return found()


@cache
def _fakes() -> Mapping[str, Any]:
    """The classes of all fake backends, by the name without what is the same in all."""
    from qiskit_ibm_runtime import fake_provider

    kinds = [getattr(fake_provider, name) for name in dir(fake_provider) if name[:4] == "Fake"]
    return {
        normal_name(kind.backend_name): kind
        for kind in kinds
        if isinstance(getattr(kind, "backend_name", None), str)
    }
