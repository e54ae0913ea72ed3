"""What is measured in turns: one measure of one case on one subject."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qcov_bench.backends import exactness
from qcov_bench.backends.plan import Case, Measure
from qcov_bench.backends.procedure import Procedure
from qcov_bench.backends.subject import Run, Runner, Subject
from qcov_bench.backends.workload import Numbers, Workload


@dataclass(kw_only=True)
class Bench:
    """One case with all that its cells share."""

    case: Case
    workload: Workload
    procedure: Procedure
    _runners: dict[str, Runner] = field(default_factory=dict)

    @property
    def measures(self) -> list[Measure]:
        """What is done with the circuit."""
        differentiates = self.procedure.gradients and self.workload.differentiable
        return [
            Measure.CALL,
            *([Measure.BATCH] if self.procedure.batch > 1 else []),
            *([Measure.GRADIENT] if differentiates else []),
        ]

    @cached_property
    def points(self) -> list[Numbers]:
        """The parameters of all circuits of a batch; the first ones are a call's."""
        return self.workload.points(self.procedure.batch, seed=self.procedure.seed)

    @cached_property
    def exact(self) -> Any | None:
        """What the call's circuit is to give; None where that would take too long."""
        if self.workload.wires > self.procedure.exact_until:
            return None
        return exactness.exact(self.workload, self.points[0])

    @cached_property
    def circuit(self) -> Any:
        """The call's circuit as a tape: executors say what it costs."""
        return self.workload.tape(self.points[0], shots=self.case.shots)

    def runner(self, subject: Subject, opened: ExitStack) -> Runner:
        """What runs the circuits on a subject, made when it is first asked for."""
        if subject.label not in self._runners:
            opening: AbstractContextManager[Runner] = subject.open(self.workload, self.case.shots)
            self._runners[subject.label] = opened.enter_context(opening)
        return self._runners[subject.label]

    def judged(self, value: Any) -> Mapping[str, float]:
        """How good the value of a call is; nothing where the exact one is not known."""
        exact = self.exact
        if exact is None:
            return {}
        if self.workload.observable is not None:
            return {"deviation": abs(float(value) - float(exact))}
        expected = exactness.distribution(exact, self.case.wires)
        found = exactness.distribution(value, self.case.wires)
        shots = self.case.shots
        limit = 1.0 if shots is None else exactness.sampling_limit(expected, shots)
        return {"fidelity": exactness.hellinger(found, expected), "limit": limit}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measure of one case on one subject."""

    bench: Bench
    measure: Measure
    subject: Subject

    @property
    def about(self) -> str:
        """In words, for whoever waits."""
        return f"{self.bench.case.key}: {self.measure} on {self.subject.label}"

    @property
    def key(self) -> str:
        """By which a rerun finds it: all that its samples depend on."""
        procedure = self.bench.procedure
        size = procedure.batch if self.measure is Measure.BATCH else 1
        parts = (self.subject.label, self.subject.identity, self.bench.case.key, self.measure)
        return "|".join((*parts, f"{size} circuits", f"seed {procedure.seed}"))

    @property
    def asked(self) -> Mapping[str, Any]:
        """What its lines say of it."""
        case = self.bench.case
        return {
            "cell": self.key,
            "subject": self.subject.label,
            "role": self.subject.role,
            "bare": self.subject.bare,
            "case": case.key,
            "family": case.family.name,
            "wires": self.bench.workload.wires,
            "depth": case.depth if case.family.depth else None,
            "shots": case.shots,
            "measure": str(self.measure),
            "parameters": int(self.bench.points[0].size),
        }

    @cached_property
    def estimate(self) -> float | None:
        """What one run of it may cost, in US dollars."""
        match self.measure:
            case Measure.CALL:
                count = 1
            case Measure.BATCH:
                count = self.bench.procedure.batch
            case Measure.GRADIENT:
                count = _circuits_of_gradient(self.bench.circuit)
        return self.subject.estimate(self.bench.circuit, count)

    def run(self, runner: Runner) -> Run:
        """Run it once."""
        points = self.bench.points
        match self.measure:
            case Measure.CALL:
                return runner.call(points[0])
            case Measure.BATCH:
                return runner.batch(points)
            case Measure.GRADIENT:
                return runner.gradient(points[0])

    def judged(self, run: Run) -> Mapping[str, float]:
        """How good a call's value is."""
        return self.bench.judged(run.values[0]) if self.measure is Measure.CALL else {}


def _circuits_of_gradient(circuit: Any) -> int:
    """How many circuits parameter shifts take at most: two for each parameter of a gate."""
    return 1 + 2 * sum(operation.num_params for operation in circuit.operations)
