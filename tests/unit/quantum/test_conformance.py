"""The conformance suite: it passes what is right, and each check finds what it is for."""

import json
import re
import sys
import threading
import types
from contextlib import suppress
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pydantic import PrivateAttr
from typer.testing import CliRunner

from qcov.cli import app
from qcov.conformance import Outcome, check_executor, checks
from qcov.conformance.pennylane_circuits import script_of
from qcov.conformance.reference import CASES, ansatz, slope_of, value_of
from qcov.conformance.subject import Failed, Skipped, Subject
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.simulator import Simulator

pytestmark = pytest.mark.slow  # each check runs the whole suite on an executor


def run(batch: CircuitBatch) -> list[Any]:
    """What a right executor does: a circuit that cannot run is an exception in its place."""
    device = qml.device("default.qubit", wires=batch.wires, seed=1)
    results: list[Any] = []
    for circuit in batch.circuits:
        try:
            results += qml.execute([circuit], device, diff_method=None)
        except Exception as error:  # noqa: BLE001
            results.append(error)
    return results


class Right(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        return run(batch)


class WrongSign(BaseQExecutor):
    """Y has the other sign, as with qubits read upside down."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        return [
            -result if isinstance(circuit.measurements[0].obs, qml.Y) else result
            for circuit, result in zip(batch.circuits, results, strict=True)
        ]


class Reversed(BaseQExecutor):
    """Wires are counted from the other end."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        return [
            result.reshape(2, 2).T.ravel() if np.shape(result) == (4,) else result
            for result in results
        ]


class OutOfOrder(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        return results[50:] + results[:50]


class TooFew(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        return run(batch)[:1]


class NoList(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        return None


class Meddling(BaseQExecutor):
    """Takes the last gate off the circuits that it gets."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        for circuit in batch.circuits:
            circuit._ops.clear()  # type: ignore[attr-defined]
        return results


class HalfTheShots(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        halved = tuple(one.copy(shots=one.shots.total_shots // 2) for one in batch.circuits)  # type: ignore[attr-defined]
        return run(CircuitBatch(circuits=halved, wires=batch.wires))


class Loaded(BaseQExecutor):
    """All shots come out as zeros."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        return [{"00": circuit.shots.total_shots} for circuit in batch.circuits]


class OneShotVector(BaseQExecutor):
    """Takes a shot vector for a number."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        return [result[0] if isinstance(result, tuple) else result for result in results]


class Swallowing(BaseQExecutor):
    """Gives a value for what it cannot run."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        return [0.0 if isinstance(one, Exception) else one for one in run(batch)]


class AllOrNothing(BaseQExecutor):
    """Lets a circuit that fails spoil those beside it."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        errors = [one for one in results if isinstance(one, Exception)]
        self._spoilt |= bool(errors)
        return [ValueError("spoilt")] * len(results) if self._spoilt else results

    _spoilt: bool = PrivateAttr(default=False)


class Unpicklable(Exception):
    def __init__(self, lock: Any) -> None:
        super().__init__("no", lock)


class FailsUnpicklably(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        lock = threading.Lock()
        return [Unpicklable(lock) if isinstance(one, Exception) else one for one in run(batch)]


class HoldsALock(BaseQExecutor):
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def run_batch(self, batch: CircuitBatch) -> Any:
        return run(batch)


class Forgetful(BaseQExecutor):
    """Its JSON has lost a setting."""

    region: str = "here"

    def run_batch(self, batch: CircuitBatch) -> Any:
        return run(batch)

    def model_dump_json(self, **options: Any) -> str:
        return super().model_dump_json(exclude={"region"}, **options)


class SharesABuffer(BaseQExecutor):
    """Keeps what it works on in one place, for all threads."""

    _buffer: Any = PrivateAttr(default=())
    _both: Any = PrivateAttr(default_factory=lambda: threading.Barrier(2))

    def run_batch(self, batch: CircuitBatch) -> Any:
        self._buffer = batch.circuits
        with suppress(threading.BrokenBarrierError):
            self._both.wait(10)  # for another thread to come by
        return run(CircuitBatch(circuits=self._buffer, wires=batch.wires))


class MixesThreads(BaseQExecutor):
    """Gives every second call the answer of the one before, as a shared device may."""

    _last: Any = PrivateAttr(default=None)

    def run_batch(self, batch: CircuitBatch) -> Any:
        results = run(batch)
        last, self._last = self._last, results[0]
        return results if last is None else [last, *results[1:]]


class ReportsNonsense(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        return [CircuitResult(value=one, job_id=17) for one in run(batch)]  # type: ignore[arg-type]


class WithMetadata(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> Any:
        metadata = {"job": threading.Lock()}
        return [CircuitResult(value=one, metadata=metadata) for one in run(batch)]


class Rounded(BaseQExecutor):
    """Rounds angles, so that a quarter turn becomes something else."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        circuits = tuple(map(self._rounded, batch.circuits))
        return run(CircuitBatch(circuits=circuits, wires=batch.wires))

    def _rounded(self, circuit: Any) -> Any:
        values = circuit.get_parameters(trainable_only=False)
        rounded = [float(np.round(value)) for value in values]
        return circuit.bind_new_parameters(rounded, range(len(values)))


class OneAtATime(BaseQExecutor):
    """Runs the first circuit only, and gives its value to all."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        return run(batch)[:1] * len(batch.circuits)


class FirstOnly(BaseQExecutor):
    """Returns the first of several measurements only."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        return [one[0] if isinstance(one, tuple) else one for one in run(batch)]


class NumbersOnly(BaseQExecutor):
    """Knows no wires but numbers."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        if any(isinstance(wire, str) for circuit in batch.circuits for wire in circuit.wires):
            return [ValueError("wires must be numbers")] * len(batch.circuits)
        return run(batch)


class LeavesOut(BaseQExecutor):
    """Leaves out what is not a plain gate."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        plain = tuple(
            qml.tape.QuantumScript(
                [one for one in circuit.operations if type(one).__name__ not in _MIDWAY],
                circuit.measurements,
                shots=circuit.shots,
            )
            for circuit in batch.circuits
        )
        return run(CircuitBatch(circuits=plain, wires=batch.wires))


_MIDWAY = ("MidMeasureMP", "MidMeasure", "Conditional")


class FirstValue(BaseQExecutor):
    """Takes the first of several values of a parameter."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        return [
            one[0] if circuit.batch_size else one  # type: ignore[attr-defined]
            for circuit, one in zip(batch.circuits, run(batch), strict=True)
        ]


BROKEN: list[tuple[type[BaseQExecutor], Any, str]] = [
    (WrongSign, checks.values, "the sign of Y: -?0.29"),
    (Reversed, checks.values, "probabilities"),
    (NoList, checks.values, "NoneType, not a list"),
    (OutOfOrder, checks.order, "angle"),
    (TooFew, checks.order, "1 results for"),
    (Meddling, checks.circuits_untouched, "changes the circuits"),
    (FirstOnly, checks.several_measurements, "not a tuple"),
    (NumbersOnly, checks.wire_labels, "wires must be numbers"),
    (LeavesOut, checks.mid_circuit_measurements, "turned over by a measurement"),
    (FirstValue, checks.broadcasting, "several angles: the shape is"),
    (HalfTheShots, checks.shots, "2000 shots instead of 4000"),
    (Loaded, checks.shots, "does not come up in"),
    (OneShotVector, checks.shot_vectors, "not a tuple"),
    (Swallowing, checks.errors, "has a value"),
    (AllOrNothing, checks.errors, "beside one that fails: ValueError: spoilt"),
    (FailsUnpicklably, checks.errors, "Unpicklable cannot be pickled"),
    (HoldsALock, checks.pickling, "cannot be pickled"),
    (Forgetful, checks.json_round_trip, "other settings"),
    (MixesThreads, checks.concurrency, "angle"),
    (SharesABuffer, checks.batches_at_once, "angle"),
    (ReportsNonsense, checks.records, "job_id is 17, not text"),
    (WithMetadata, checks.records, "metadata cannot be JSON"),
    (Rounded, checks.gradients, "the derivative"),
    (OneAtATime, checks.run_later, "angle"),
]


@pytest.mark.parametrize(
    ("kind", "check", "reason"), BROKEN, ids=[f"{kind.__name__}" for kind, _, _ in BROKEN]
)
def test_a_broken_executor_is_found(kind: Any, check: Any, reason: str) -> None:
    settings: dict[str, Any] = {"max_jobs": 4} if check is checks.batches_at_once else {}
    if kind is Forgetful:
        settings["region"] = "there"
    with pytest.raises(Failed) as failed:
        check(Subject(executor=kind(**settings), shots=None))
    assert re.search(reason, str(failed.value))


def test_every_check_has_an_executor_that_breaks_it() -> None:
    assert {check for _, check, _ in BROKEN} == set(checks.CHECKS)


@pytest.mark.parametrize(
    "make",
    [
        Right,
        lambda: Right(shots=2000),
        lambda: Right(shots=None),
        lambda: Simulator("lightning.qubit", max_jobs=2),
    ],
    ids=["right", "shots", "analytic", "simulator"],
)
def test_a_right_executor_passes(make: Any) -> None:
    report = check_executor(make())
    assert report.passed, str(report)


class NeedsShots(BaseQExecutor):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(analytic=False)

    def run_batch(self, batch: CircuitBatch) -> Any:
        if not all(circuit.shots for circuit in batch.circuits):
            raise ValueError("no shots")
        if any(circuit.shots.has_partitioned_shots for circuit in batch.circuits):
            raise ValueError("no shot vectors here")
        return run(batch)


def test_what_an_executor_cannot_is_skipped_with_a_reason() -> None:
    report = check_executor(NeedsShots())
    skipped = {one.check: one.reason for one in report.results if one.outcome is Outcome.SKIPPED}
    assert report.shots == 4000
    assert report.passed, str(report)
    assert skipped["shot-vectors"] == "it refuses them: no shot vectors here"
    assert "max_jobs is 1" in skipped["batches-at-once"]
    with pytest.raises(Skipped, match="analytic"):
        checks.shots(Subject(executor=Right(shots=None), shots=None))


# -- the reference -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_the_reference_agrees_with_pennylane(case: Any) -> None:
    (value,) = run(CircuitBatch(circuits=(script_of(case, None),), wires=case.wires))
    np.testing.assert_allclose(value, value_of(case), atol=1e-10)


def test_the_references_slope_is_a_slope() -> None:
    near = [value_of(ansatz(0.9 + step)) for step in (1e-6, -1e-6)]
    assert slope_of(ansatz(0.9), 0) == pytest.approx((near[0] - near[1]) / 2e-6, abs=1e-6)


# -- the command -------------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    made = types.ModuleType("their_package")
    for kind in (Right, WrongSign):
        setattr(made, kind.__name__, kind)
    made.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_package", made)


@pytest.mark.usefixtures("module")
def test_the_command_prints_json_and_fails_with_the_executor() -> None:
    ran = CliRunner().invoke(app, ["executor-test", "their_package:WrongSign", "--json"])
    report = json.loads(ran.stdout)
    assert (ran.exit_code, report["passed"], report["executor"]) == (1, False, "WrongSign")
    outcomes = {one["check"]: one["outcome"] for one in report["results"]}
    assert outcomes["values"] == "failed"
    assert outcomes["pickling"] == "passed"


@pytest.mark.usefixtures("module")
def test_the_command_takes_settings_and_prints_a_table() -> None:
    ran = CliRunner().invoke(app, ["executor-test", "their_package:Right", "-o", "shots=2000"])
    assert ran.exit_code == 0
    assert re.search(r"shot-vectors +skipped +its own shots take the place", ran.stdout)
    assert re.search(r"values +passed +Each circuit of the table", ran.stdout)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["their_package"], 2, "is not MODULE:CLASS"),
        (["their_package:Right", "-o", "shots"], 2, "is not NAME=VALUE"),
        (["their_package:Wrong"], 1, "has no attribute 'Wrong'"),
        (["nowhere_at_all:Right"], 1, "No module named 'nowhere_at_all'"),
        (["their_package:number"], 1, "is not a class of executors"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_arguments(
    arguments: list[str], code: int, said: str
) -> None:
    ran = CliRunner().invoke(app, ["executor-test", *arguments])
    assert ran.exit_code == code
    assert said in re.sub(r"\s*[│\n]\s*", " ", ran.output)
