"""PennyLane's circuits as Qiskit's: gate for gate, and read back from shots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("qiskit_aer")

from qiskit.quantum_info import Operator, Statevector

from qcov.errors import CircuitRejected
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.qiskit_circuits import _METHODS, Parts
from qcov.qexecutors.qiskit_local import LocalBackend
from qcov.qexecutors.qiskit_programs import Translator

WIRES = ("c", 0, "a", "b")
SHOTS = 20_000


def tape_of(function: Any, shots: Any = SHOTS) -> Any:
    with qml.queuing.AnnotatedQueue() as queue:
        function()
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


def unitary_of(name: str, values: list[float]) -> tuple[Any, Any]:
    """A gate's matrix by PennyLane, and by Qiskit with the wires the other way round."""
    kind = getattr(qml, name.removeprefix("Adjoint(").removesuffix(")"))
    gate = kind(*values, wires=range(kind.num_wires or 1))
    gate = qml.adjoint(gate) if name.startswith("Adjoint") else gate
    assert gate.name == name
    parts = Parts(gate.wires)
    parts.add([gate])
    circuit = parts.structure(()).circuit(parts.values).reverse_bits()
    return qml.matrix(gate), Operator(circuit).data


@pytest.mark.parametrize("name", sorted(_METHODS))
def test_a_gate_is_the_same_up_to_a_phase(name: str) -> None:
    values = [0.3, 1.1, -2.0][: _METHODS[name][1]]
    theirs, ours = unitary_of(name, values)
    overlap = np.vdot(theirs, ours) / len(ours)
    assert abs(overlap) == pytest.approx(1.0, abs=1e-12)


# -- random circuits ---------------------------------------------------------------------------

ANGLES = st.floats(-7.0, 7.0, allow_nan=False)
ONE = ("RX", "RY", "RZ", "PhaseShift", "Hadamard", "S", "T", "SX", "PauliY")
TWO = ("CNOT", "CZ", "CRX", "CRZ", "ControlledPhaseShift", "IsingXX", "IsingXY", "ISWAP", "ECR")


@st.composite
def gates(draw: st.DrawFn) -> Any:
    """A gate on some of the wires, from plain ones to those that have to be decomposed."""
    wires = draw(st.permutations(WIRES))
    angle, kind = draw(ANGLES), draw(st.sampled_from(("one", "two", "other")))
    if kind == "one":
        return applied(draw(st.sampled_from(ONE)), angle, wires[:1])
    if kind == "two":
        return applied(draw(st.sampled_from(TWO)), angle, wires[:2])
    return draw(st.sampled_from(others(angle, wires)))


def applied(name: str, angle: float, wires: Any) -> Any:
    gate = getattr(qml, name)
    return gate(angle, wires=wires) if gate.num_params else gate(wires=wires)


def others(angle: float, wires: Any) -> list[Any]:
    first, second, third, _ = wires
    return [
        qml.Rot(angle, 0.3, 1.0, wires=first),
        qml.adjoint(qml.SX(first)),
        qml.adjoint(qml.QFT(wires=wires[:3])),
        qml.ctrl(qml.RY(angle, first), [second, third], control_values=[0, 1]),
        qml.ctrl(qml.GlobalPhase(angle), first),
        qml.MultiRZ(angle, wires=wires[:3]),
        qml.PauliRot(angle, "XYZ", wires=wires[:3]),
        qml.SingleExcitation(angle, wires=[first, second]),
        qml.QubitUnitary(qml.matrix(qml.IsingXY(angle, [0, 1])), wires=[first, second]),
        qml.pow(qml.RX(0.4, first), 2.5),
        qml.GlobalPhase(angle),
        qml.Barrier(wires=wires[:2]),
    ]


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(gates(), max_size=8),
    state=st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    measured=st.permutations(WIRES),
    count=st.integers(1, 4),
)
def test_random_circuits_have_the_same_probabilities(
    operations: Any, state: Any, measured: Any, count: int
) -> None:
    vector = np.array(state) + np.array([1, 1j, 0.5, 0])
    prepared = qml.StatePrep(vector / np.linalg.norm(vector), wires=measured[1:3])
    measurement = qml.probs(wires=measured[:count])
    tape = qml.tape.QuantumScript([prepared, *operations], [measurement], shots=SHOTS)

    (pub,) = Translator(executor="test").programs(CircuitBatch(circuits=(tape,), wires=WIRES)).pubs

    circuit = pub.structure.circuit(pub.values)
    circuit.remove_final_measurements()
    qubits = list(pub.structure.measured)
    ours = Statevector(circuit).probabilities(qubits[::-1])
    expected = qml.execute([tape.copy(shots=None)], qml.device("default.qubit", wires=WIRES))
    np.testing.assert_allclose(ours, expected[0], atol=1e-7)


# -- all measurements --------------------------------------------------------------------------

HERMITIAN = np.array([[1, 2 - 1j], [2 + 1j, -0.5]])
SUM = qml.Hamiltonian(
    [0.3, 0.5, 0.2], [qml.X("a"), qml.Z("b") @ qml.Y("c"), qml.Z("a") @ qml.Z("b")]
)


def body() -> None:
    qml.RX(0.4, "a")
    qml.CNOT(["a", "b"])
    qml.RY(1.2, "c")
    qml.CRX(0.9, wires=["c", "a"])
    qml.CNOT(["b", "c"])


MEASUREMENTS: list[tuple[str, Any]] = [
    ("a sum that does not commute", lambda: qml.expval(SUM)),
    ("probabilities in another order", lambda: qml.probs(wires=["c", "a"])),
    ("all wires of the device", qml.probs),
    ("probabilities of an observable", lambda: qml.probs(op=qml.X("b"))),
    ("a Hermitian matrix", lambda: qml.expval(qml.Hermitian(HERMITIAN, "b"))),
    ("its variance", lambda: qml.var(qml.Hermitian(HERMITIAN, "b"))),
    ("a projector", lambda: qml.expval(qml.Projector([1, 0], ["a", "c"]))),
    ("a sum with a matrix", lambda: qml.expval(2 * qml.Hermitian(HERMITIAN, "b") + qml.X("c"))),
    ("the identity", lambda: qml.expval(qml.Identity("a"))),
    (
        "several that do not commute",
        lambda: (
            qml.expval(qml.X("a")),
            qml.var(qml.X("a") @ qml.Y("b")),
            qml.probs(["b"]),
            qml.expval(qml.Z("a")),
        ),
    ),
]


@pytest.fixture(scope="module")
def aer() -> LocalBackend:
    return LocalBackend("aer_simulator", 0, {}, {}, "test")


def run(backend: LocalBackend, tape: Any, *, wires: Any = WIRES, **how: Any) -> Any:
    batch = CircuitBatch(circuits=(tape,), wires=wires, **how)
    programs = Translator(executor="test", dynamic=backend.dynamic).programs(batch)
    raw = backend.run(programs.pubs, 7, None).results if programs.pubs else []
    (value,) = programs.read(raw)
    return value


def exact(tape: Any) -> Any:
    """The value without shots; measurements in the midst have wires of their own."""
    device = qml.device("default.qubit", wires=[*WIRES, *range(1, 6)])
    return qml.execute([tape.copy(shots=None)], device, diff_method=None)[0]


def assert_close(got: Any, expected: Any, shots: int = SHOTS, scale: float = 1.0) -> None:
    if isinstance(expected, tuple):
        assert isinstance(got, tuple)
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_close(one, other, shots, scale)
        return
    assert not isinstance(got, Exception), got
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_allclose(got, expected, atol=6 * scale / shots**0.5)


@pytest.mark.parametrize(
    "measure", [one for _, one in MEASUREMENTS], ids=[label for label, _ in MEASUREMENTS]
)
def test_every_measurement_is_read_from_shots(aer: LocalBackend, measure: Any) -> None:
    tape = tape_of(lambda: (body(), measure()))
    expected = qml.execute([tape.copy(shots=None)], qml.device("default.qubit", wires=WIRES))[0]
    assert_close(run(aer, tape), expected, scale=8.0)


def test_counts_and_samples_have_the_form_of_pennylanes(aer: LocalBackend) -> None:
    tape = tape_of(
        lambda: (
            body(),
            qml.counts(wires=["a"], all_outcomes=True),
            qml.sample(),
            qml.counts(qml.Z("c")),
        ),
        100,
    )
    counts, samples, of_z = run(aer, tape)
    assert set(counts) == {"0", "1"}
    assert sum(counts.values()) == 100
    assert samples.shape == (100, 4)
    assert samples.dtype.kind == "i"
    assert set(of_z) <= {1.0, -1.0}


def test_shot_vectors_have_a_result_for_each_part(aer: LocalBackend) -> None:
    tape = tape_of(lambda: (body(), qml.expval(qml.Z("a")), qml.sample(wires="b")), (5000, 100))
    (mean, first), (_, second) = run(aer, tape)
    assert_close(mean, exact(tape_of(lambda: (body(), qml.expval(qml.Z("a"))))), 5000)
    assert (np.shape(first)[0], np.shape(second)[0]) == (5000, 100)


def test_a_broadcast_circuit_has_a_result_for_each_value(aer: LocalBackend) -> None:
    angles = np.array([0.1, 1.0, 2.5])
    tape = tape_of(lambda: (qml.RX(angles, "a"), qml.expval(qml.Z("a")), qml.probs("a")))
    mean, chances = run(aer, tape)
    assert_close(mean, np.cos(angles))
    assert_close(chances[:, 0], np.cos(angles / 2) ** 2)


@pytest.mark.parametrize(
    ("measure", "kind"),
    [
        (qml.state, "State"),
        (lambda: qml.density_matrix("a"), "DensityMatrix"),
        (lambda: qml.vn_entropy("a"), "VnEntropy"),
        (lambda: qml.classical_shadow(wires=["a"]), "ClassicalShadow"),
    ],
)
def test_what_does_not_follow_from_shots_is_refused(measure: Any, kind: str) -> None:
    tape = tape_of(lambda: (body(), measure()), 10)
    programs = Translator(executor="Q").programs(CircuitBatch(circuits=(tape,), wires=WIRES))
    (error,) = programs.read([])
    assert isinstance(error, CircuitRejected)
    assert f"measures {kind}" in str(error)


def test_a_circuit_that_is_refused_leaves_the_others_alone(aer: LocalBackend) -> None:
    good = tape_of(lambda: qml.expval(qml.Z("a")))
    batch = CircuitBatch(circuits=(good, good.copy(shots=None), good), wires=WIRES)
    programs = Translator(executor="Q").programs(batch)
    first, refused, last = programs.read(aer.run(programs.pubs, 1, None).results)
    assert (first, last) == (1.0, 1.0)
    assert "no shots" in str(refused)


# -- measurements in the midst -----------------------------------------------------------------


def midway() -> dict[str, Any]:
    qml.RX(1.0, "a")
    qml.RY(0.4, "b")
    first = qml.measure("a")
    qml.cond(first, qml.Rot)(0.3, 0.4, 0.5, wires="b")
    second = qml.measure("b", reset=True)
    qml.RX(0.7, "b")
    third = qml.measure("a")
    qml.cond((first + second + third) == 1, qml.QFT)(wires=["b", "c"])
    qml.cond(first == second, qml.X)("c")
    qml.Hadamard("c")
    return {"first": first, "second": second, "third": third}


def midway_tape(measure: Any, shots: Any = SHOTS) -> Any:
    return tape_of(lambda: measure(**midway()), shots)


def several(first: Any, second: Any, third: Any) -> Any:
    return (
        qml.expval(first),
        qml.probs(op=[first, second]),
        qml.expval(first * 2 + second),
        qml.var(third),
        qml.expval(qml.X("b")),
    )


@pytest.mark.parametrize("method", [None, "deferred", "one-shot", "device"])
@pytest.mark.parametrize("measure", [lambda **_: qml.expval(qml.Z("c")), several])
def test_measurements_in_the_midst(aer: LocalBackend, method: Any, measure: Any) -> None:
    tape = midway_tape(measure)
    assert_close(run(aer, tape, mcm_method=method), exact(tape), scale=2.0)


def test_a_condition_that_is_never_true_takes_no_numbers(aer: LocalBackend) -> None:
    def circuit() -> None:
        first = qml.measure("a")
        qml.cond(first == 2, qml.Rot)(np.pi, 0.1, 0.2, wires="b")
        qml.cond(first == 0, qml.RX)(0.0, wires="b")
        qml.RX(np.pi, "c")
        qml.probs(wires=["b", "c"])

    chances = run(aer, tape_of(circuit), mcm_method="device")
    np.testing.assert_array_equal(chances, [0, 1, 0, 0])


def test_a_dynamic_circuit_needs_no_more_qubits_than_wires() -> None:
    tape = midway_tape(lambda **_: qml.expval(qml.Z("c")))

    def qubits(method: str) -> int:
        batch = CircuitBatch(circuits=(tape,), wires=("a", "b", "c"), mcm_method=method)
        (pub,) = Translator(executor="Q").programs(batch).pubs
        return pub.structure.qubits

    assert (qubits("device"), qubits("deferred")) == (3, 5)  # the last one takes no wire


def test_postselection_drops_shots(aer: LocalBackend) -> None:
    def circuit() -> None:
        qml.RX(1.0, "a")
        qml.CNOT(["a", "b"])
        qml.measure("a", postselect=1)
        qml.RY(0.3, "b")
        qml.probs(wires="b")
        qml.sample(wires="b")

    chances, samples = run(aer, tape_of(circuit))
    kept = np.sin(0.5) ** 2
    assert_close(len(samples) / SHOTS, kept)
    assert_close(chances[1], np.cos(0.15) ** 2, shots=len(samples))


@pytest.mark.parametrize(
    ("how", "dynamic", "reason"),
    [
        ({"mcm_method": "tree-traversal"}, True, "by 'tree-traversal', not one of"),
        ({"mcm_method": "device"}, False, "use mcm_method='deferred'"),
        ({"postselect_mode": "fill-shots"}, True, "use 'hw-like'"),
        ({"mcm_method": "deferred"}, True, "[Pp]ostselect"),
    ],
)
def test_a_way_to_measure_that_cannot_be_is_refused(how: Any, dynamic: bool, reason: str) -> None:
    tape = tape_of(lambda: (qml.measure("a", postselect=1), qml.expval(qml.Z("a"))))
    batch = CircuitBatch(circuits=(tape,), wires=WIRES, **how)
    (error,) = Translator(executor="Q", dynamic=dynamic).programs(batch).read([])
    with pytest.raises(CircuitRejected, match=reason):
        raise error


def test_too_many_qubits_are_refused_with_their_number() -> None:
    tape = tape_of(lambda: (qml.X("a"), qml.probs(wires=WIRES)))
    batch = CircuitBatch(circuits=(tape,), wires=WIRES)
    (error,) = Translator(executor="Q", qubits=3).programs(batch).read([])
    assert "needs 4 qubits, and the backend has 3" in str(error)


# -- programs ----------------------------------------------------------------------------------


def test_equal_programs_have_equal_keys() -> None:
    def key(angle: float, shots: int = 10) -> str:
        tape = tape_of(lambda: (qml.RX(angle, "a"), qml.expval(qml.X("a"))), shots)
        return Translator(executor="Q").programs(CircuitBatch(circuits=(tape,))).pubs[0].key

    assert key(0.3) == key(0.3)
    assert len({key(0.3), key(0.3 + 1e-12), key(0.3, shots=11)}) == 3
    # The same in every process and version: jobs are found again by it after a crash.
    assert key(0.25) == "3b99080b99656429edea6425d1f6c26345abdc6698bfab243d8c17d449a345b7"


def test_an_estimator_gets_observables_in_qiskits_order() -> None:
    tape = tape_of(lambda: (body(), qml.expval(SUM), qml.expval(qml.Z(0))))
    (pub,) = Translator(executor="Q", estimate=True).programs(CircuitBatch(circuits=(tape,))).pubs
    (of_sum, of_z) = pub.sparse
    state = Statevector(pub.structure.circuit(pub.values))
    expected = exact(tape)
    assert state.expectation_value(of_sum).real == pytest.approx(expected[0])
    assert state.expectation_value(of_z).real == pytest.approx(expected[1])
    assert pub.structure.measured == ()
