"""Executors of qcov as subjects: circuits go the way that users' circuits go."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import pennylane as qml

from qcov import records
from qcov.qexecutors.base import BaseQExecutor
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron
from qcov_bench.backends import money, phases
from qcov_bench.backends.subject import Run, timed
from qcov_bench.backends.workload import Numbers, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSubject:
    """An executor; see `subject.Subject`."""

    executor: BaseQExecutor
    label: str
    bare: str | None = None
    role: str = "executor"

    @property
    def identity(self) -> str:
        """A digest of the executor's settings, which may hold what nobody is to read."""
        try:
            settings = json.dumps(self.executor.model_dump(mode="json"), sort_keys=True)
        except Exception:  # noqa: BLE001  # settings are the user's, and need not be JSON
            settings = type(self.executor).__qualname__
        return hashlib.sha256(settings.encode()).hexdigest()[:12]

    def refusal(self, shots: int | None) -> str | None:  # noqa: ARG002  # circuits will tell
        """None: circuits that it cannot run fail, and that is measured too."""
        return None

    def estimate(self, circuit: Any, count: int) -> float | None:
        """What the executor says that circuits will cost."""
        return money.estimated(self.executor, circuit, count)

    @contextmanager
    def open(self, workload: Workload, shots: int | None) -> Generator[_Runner]:
        """A qelectron on the executor, or on a copy that takes the case's shots."""
        executor = self.executor
        if executor.shots != 0:  # members of a cluster keep theirs
            executor = copy(executor)
            executor.shots = 0
        device = qml.device("default.qubit", wires=workload.wires)
        qnode = qml.QNode(workload.function(shots=shots), device, diff_method="parameter-shift")
        yield _Runner(qelectron(qml.set_shots(qnode, shots=shots), executors=executor))


class _Runner:
    """Runs circuits of one case on one executor."""

    def __init__(self, circuit: Any) -> None:
        self._circuit = circuit

    def call(self, point: Numbers) -> Run:
        """One call, with its phases."""
        begun = time.time()
        seconds, value, ran = _recorded(lambda: self._circuit(point))
        ended = begun + seconds
        told = phases.of_call(ran[0], begun=begun, ended=ended) if len(ran) == 1 else None
        return Run(
            seconds=seconds,
            values=[value],
            circuits=len(ran),
            phases=told,
            usd=money.of_records(ran),
        )

    def batch(self, points: Sequence[Numbers]) -> Run:
        """As futures, all of which are waited for."""

        def all_at_once() -> list[Any]:
            futures = [self._circuit.run_later(point) for point in points]
            try:
                return gather(futures)
            except BaseException:  # what still runs would be in the way of what is next
                for future in futures:
                    future.cancel()
                wait(futures)
                raise

        seconds, values, ran = _recorded(all_at_once)
        return Run(seconds=seconds, values=values, circuits=len(ran), usd=money.of_records(ran))

    def gradient(self, point: Numbers) -> Run:
        """By `qml.grad`."""
        trainable = qml.numpy.array(point, requires_grad=True)
        seconds, _, ran = _recorded(lambda: qml.grad(self._circuit)(trainable))
        return Run(seconds=seconds, values=(), circuits=len(ran), usd=money.of_records(ran))


def _recorded(function: Callable[[], Any]) -> tuple[float, Any, list[dict[str, Any]]]:
    """Seconds, value, and the records of what ran."""
    with records.collecting() as sink:
        seconds, value = timed(function)
    return seconds, value, sink.drain()
