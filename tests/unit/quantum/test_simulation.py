"""Circuits of one structure share what was learnt of them, and give what each gives by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov.qexecutors import native_threads
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.pennylane_adapter import make_device
from qcov.qexecutors.pennylane_compact import Template, structure_of
from qcov.qexecutors.pennylane_lightning_program import LightningProgram
from qcov.qexecutors.pennylane_simulation import Simulation
from qcov.qexecutors.pennylane_structure import _CONTROLLED, _UNCONTROLLED
from qcov.qexecutors.simulator import Simulator

DEVICES = ("default.qubit", "lightning.qubit")
MEASUREMENTS: dict[str, Callable[[], list[Any]]] = {
    "expval": lambda: [qml.expval(qml.Z(1))],
    "hamiltonian": lambda: [qml.expval(0.5 * qml.Z(0) @ qml.X(1) + 2 * qml.Hadamard(2))],
    "var": lambda: [qml.var(qml.X(0))],
    "probs": lambda: [qml.probs(wires=[2, 0])],
    "state": lambda: [qml.state()],
    "several": lambda: [qml.expval(qml.Z(0)), qml.probs(wires=[1]), qml.var(qml.Y(2))],
}


@pytest.mark.parametrize("device", DEVICES)
def test_every_plain_gate_runs_right(device: str, rng: np.random.Generator) -> None:
    circuits = [
        tape([gate(angles)], [qml.expval(qml.X(0)), qml.probs(wires=range(4))])
        for gate in map(made, sorted(_CONTROLLED | _UNCONTROLLED, key=str))
        for angles in rng.random((3, 3))
    ]
    check(device, circuits)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_values_and_types(
    device: str, measure: Callable[[], list[Any]], rng: np.random.Generator
) -> None:
    check(
        device, [tape([qml.RX(a, 0), qml.CRY(b, [0, 1])], measure()) for a, b in rng.random((5, 2))]
    )


@pytest.mark.parametrize("device", DEVICES)
def test_circuits_of_all_kinds_in_one_batch(device: str) -> None:
    z = [qml.expval(qml.Z(0))]
    check(
        device,
        [
            tape([qml.RX(0.1, 0)], z),
            tape([qml.RX(0.1, 0)], z),  # equal in all
            tape([qml.RX(np.array([0.1, 0.2]), 0)], z),  # already broadcast
            tape([qml.RX(np.array([0.3, 0.4]), 0)], z),
            tape([qml.RX(1, 0)], z),  # an integer
            tape([qml.RX(np.array(0.7), 0)], z),
            tape([qml.RX(qml.numpy.array(0.8), 0)], z),
            tape([qml.RX(0.2, 1)], z),  # another wire
            tape([qml.RX(0.1, 0)], [qml.expval(2.0 * qml.Z(0))]),  # other coefficients
            tape([qml.RX(0.2, 0)], [qml.expval(3.0 * qml.Z(0))]),
            tape([], z),
            tape([qml.BasisState(np.array([1, 0]), [0, 1]), qml.RY(0.1, 0)], z),
            tape([qml.BasisState(np.array([0, 1]), [0, 1]), qml.RY(0.2, 0)], z),
            tape([qml.RX(0.1, 0), qml.QubitUnitary(np.eye(2), 0)], z),  # not plain
        ],
    )


def test_a_failing_circuit_fails_alone() -> None:
    batch = [tape([qml.RX(x, wire)], [qml.expval(qml.X(0))]) for x, wire in ((0.1, 0), (0.2, 9))]
    good, bad = simulation("default.qubit").run(CircuitBatch(circuits=tuple(batch), wires=4))
    assert good == pytest.approx(1)
    assert isinstance(bad, qml.exceptions.WireError)


def test_more_circuits_than_a_chunk_holds(rng: np.random.Generator) -> None:
    wires = 12
    circuits = [
        qml.tape.QuantumScript(
            [qml.RX(x, 0), *[qml.CNOT([0, wire]) for wire in range(1, wires)]],
            [qml.expval(qml.Z(wires - 1))],
        )
        for x in rng.random(35)
    ]
    ours = Simulation(make_device("default.qubit", wires, {}))
    values = ours.run(CircuitBatch(circuits=tuple(circuits), wires=wires))
    expected = [np.cos(circuit.operations[0].data[0]) for circuit in circuits]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_finite_shots_are_not_merged(rng: np.random.Generator) -> None:
    circuits = [
        qml.tape.QuantumScript([qml.RX(x, 0)], [qml.expval(qml.Z(0))], shots=100)
        for x in rng.random(3)
    ]
    seeded = [qml.device("default.qubit", wires=1, seed=7) for _ in range(2)]
    ours = Simulation(seeded[0]).run(CircuitBatch(circuits=tuple(circuits), wires=1))
    assert ours == list(seeded[1].execute(tuple(circuits)))


@pytest.mark.parametrize("wires", [4, None, range(4), ["a", 0, 1, 2, 3], [3, 2, 1, 0]], ids=str)
@pytest.mark.parametrize("options", [{}, {"c_dtype": np.complex64}, {"batch_obs": True}], ids=str)
def test_lightning_of_all_kinds(options: Any, wires: Any, rng: np.random.Generator) -> None:
    ours, theirs = (make_device("lightning.qubit", wires, options) for _ in range(2))
    circuits = [
        tape([qml.CRX(x, [1, 3]), qml.RZ(x, 2)], [qml.expval(x * qml.X(3) @ qml.Z(1)), qml.state()])
        for x in rng.random(4)
    ]
    simulated = Simulation(ours).run(CircuitBatch(circuits=tuple(circuits), wires=None))
    for mine, circuit in zip(simulated, circuits, strict=True):
        same(mine, qml.execute([circuit], theirs, diff_method=None, interface="numpy")[0])


def test_lightning_draws_the_same_samples_between_analytic_circuits() -> None:
    ours, theirs = (qml.device("lightning.qubit", wires=4, seed=5) for _ in range(2))
    simulated = Simulation(ours)
    for step in range(6):
        shots = 50 if step % 2 else None
        circuit = qml.tape.QuantumScript(
            [qml.RX(0.1 * step, 0), qml.CNOT([0, 1])], [qml.probs(wires=[0, 1])], shots=shots
        )
        (mine,) = simulated.run(CircuitBatch(circuits=(circuit,), wires=4))
        same(mine, qml.execute([circuit], theirs, diff_method=None, interface="numpy")[0])


@pytest.mark.parametrize("first", [0.0, 0.3])
def test_a_lightning_that_works_otherwise_runs_in_its_own_way(first: float) -> None:
    ours, theirs = (make_device("lightning.qubit", 1, {}) for _ in range(2))
    points = [(first, first, first), (0.1, 0.2, 0.3)]
    circuits = [qml.tape.QuantumScript([qml.Rot(*p, 0)], [qml.state()]) for p in points]
    for circuit in circuits:
        structure = structure_of(circuit)
        assert structure is not None
        program = LightningProgram(ours, structure, Template(structure))
        program._steps = [(name, wires, stop, start) for name, wires, start, stop in program._steps]
        results = program.run(structure, [circuit], lambda one: ours.execute((one,))[0])
        assert results is None  # it passes no angles, which shows even where all of them are 0
        same(ours.execute((circuit,))[0], theirs.execute((circuit,))[0])


def test_openmp_keeps_its_threads() -> None:
    make_device("lightning.qubit", 1, {})
    library = native_threads._openmp()
    if library is None:
        pytest.skip("Lightning's OpenMP is not known on this platform")
    before = library.omp_get_max_threads()
    library.omp_set_num_threads(3)
    try:
        with native_threads.one_openmp_thread():
            assert library.omp_get_max_threads() == 1
        assert library.omp_get_max_threads() == 3
    finally:
        library.omp_set_num_threads(before)


def test_blas_gets_its_threads_back_from_whoever_leaves_last() -> None:
    if native_threads._blas() is None:
        pytest.skip("NumPy's OpenBLAS is not known on this platform")
    before = native_threads.blas_threads()
    native_threads.set_blas_threads(2)
    try:
        first, second = native_threads.one_blas_thread(), native_threads.one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert native_threads.blas_threads() == 1
        second.__exit__(None, None, None)
        assert native_threads.blas_threads() == 2
    finally:
        native_threads.set_blas_threads(before)


def made(kind: Any) -> Callable[[np.ndarray], Any]:
    """What makes a gate of a kind with these angles."""
    if kind is qml.BasisState:
        return lambda _angles: qml.BasisState(np.array([1, 0]), wires=[0, 1])
    wires = range(kind.num_wires or 1)
    return lambda angles: kind(*angles[: kind.num_params], wires=wires)


def tape(operations: list[Any], measurements: list[Any]) -> Any:
    spread = [qml.Hadamard(wire) for wire in range(4)] if operations else []
    if operations and isinstance(operations[0], qml.BasisState):
        spread = []
    return qml.tape.QuantumScript([*spread, *operations], measurements)


def simulation(device: str) -> Simulation:
    return Simulation(make_device(device, 4, {}))


def check(device: str, circuits: list[Any]) -> None:
    """Run circuits twice as one batch, and compare with PennyLane running each by itself."""
    ours = simulation(device)
    theirs = make_device(device, 4, {})
    expected = [
        qml.execute([circuit], theirs, diff_method=None, interface="numpy")[0]
        for circuit in circuits
    ]
    for _ in range(2):
        results = ours.run(CircuitBatch(circuits=tuple(circuits), wires=4))
        for result, value in zip(results, expected, strict=True):
            same(result, value)


def same(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    if isinstance(theirs, tuple):
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other)
        return
    assert np.shape(ours) == np.shape(theirs)
    assert np.asarray(ours).dtype == np.asarray(theirs).dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.process
@pytest.mark.parametrize("parallel", ["thread", "process"])
def test_a_seed_gives_each_circuit_numbers_of_its_own(parallel: str) -> None:
    """Each worker had a device with that seed, so that every second circuit drew the same."""
    circuits = (qml.tape.QuantumScript([qml.Hadamard(0)], [qml.sample()], shots=20),) * 8
    batch = CircuitBatch(circuits=circuits, wires=1)
    drawn: list[list[bytes]] = []
    for way in (parallel, False):
        simulator = Simulator(seed=7, parallel=way, workers=2)
        drawn.append([np.asarray(result).tobytes() for result in simulator.run_batch(batch)])
        simulator.close()
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 8


def test_seeds_go_to_circuits_in_their_order(rng: np.random.Generator) -> None:
    kinds = [[], [qml.CNOT([0, 1])], [qml.QubitUnitary(np.eye(2), 0)]]
    circuits = [
        qml.tape.QuantumScript([qml.RX(1.0, 0), *kinds[k]], [qml.expval(qml.Z(0))], shots=20)
        for k in rng.integers(3, size=20)
    ]
    ours, theirs = (qml.device("default.qubit", wires=2, seed=42) for _ in range(2))
    simulated = Simulation(ours).run(CircuitBatch(circuits=tuple(circuits), wires=2))
    expected = [qml.execute([one], theirs, diff_method=None)[0] for one in circuits]
    assert simulated == expected


def test_a_failing_circuit_draws_no_numbers_of_others() -> None:
    shot = qml.tape.QuantumScript([qml.RX(1.0, 0)], [qml.expval(qml.Z(0))], shots=20)
    bad = qml.tape.QuantumScript([qml.RX(1.0, 9)], [qml.expval(qml.Z(0))], shots=20)
    ours, theirs = (qml.device("default.qubit", wires=2, seed=42) for _ in range(2))
    batch = CircuitBatch(circuits=(shot, shot, bad, shot), wires=2)
    simulated = Simulation(ours).run(batch)
    expected = [qml.execute([shot], theirs, diff_method=None)[0] for _ in range(3)]
    assert [*simulated[:2], simulated[3]] == expected


def test_coefficients_of_another_type_are_another_structure() -> None:
    def circuits(coefficient: Any) -> list[Any]:
        observable = qml.s_prod(coefficient, qml.Z(0))
        return [tape([qml.RX(x, 0)], [qml.expval(observable)]) for x in (0.1, 0.2, 0.3)]

    kinds = [2.0, 2j, 2 + 0j, 2, np.float32(2), np.float64(2), qml.numpy.tensor(2.0)]
    check("default.qubit", [circuit for kind in kinds for circuit in circuits(kind)])


#: Gates with every way to broadcast: PennyLane's own routines, matrices, controlled ones.
TURNED: dict[str, Callable[[Any], Any]] = {
    "RX": lambda x: qml.RX(x, 0),
    "RY": lambda x: qml.RY(x, 1),
    "RZ": lambda x: qml.RZ(x, 1),
    "PhaseShift": lambda x: qml.PhaseShift(x, 0),
    "Rot": lambda x: qml.Rot(0.1, x, 0.2, 1),
    "U3": lambda x: qml.U3(x, 0.2, 0.3, 0),
    "IsingXX": lambda x: qml.IsingXX(x, [0, 1]),
    "CRY": lambda x: qml.CRY(x, [0, 1]),
    "CRZ": lambda x: qml.CRZ(x, [1, 0]),
    "ControlledPhaseShift": lambda x: qml.ControlledPhaseShift(x, [0, 1]),
    "SingleExcitation": lambda x: qml.SingleExcitation(x, [1, 2]),
}


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("kind", TURNED)
def test_merged_circuits_give_what_each_gives(kind: str, count: int) -> None:
    """Even if somebody has asked one gate of the first how many circuits it stands for."""

    def circuit(index: int) -> Any:
        turned = TURNED[kind](0.7 + 0.4 * (index == count - 1))
        if index == 0:
            assert turned.batch_size is None
        first = qml.RX(0.3 + 0.2 * (index == 0), 0)
        gates = [first, qml.RY(0.5, 1), qml.CNOT([0, 1]), turned, qml.RX(0.15, 1)]
        measured = [qml.expval(qml.Z(0) @ qml.Z(1)), qml.probs(wires=[0, 2])]
        return tape([*gates, qml.CNOT([1, 2])], measured)

    check("default.qubit", [circuit(index) for index in range(count)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("gates", [[1, 2], [2, 1], [0, 2], [0, 1], [2]], ids=str)
def test_wires_that_are_only_measured(device: str, gates: list[int]) -> None:
    """A device without wires numbers them as they come, those of the gates first."""
    ours, theirs = (make_device(device, None, {}) for _ in range(2))
    measured = [qml.probs(), qml.expval(qml.Z(0)), qml.expval(qml.X(2)), qml.expval(qml.Y(1))]
    circuits = [
        qml.tape.QuantumScript([qml.RX(0.5 + step + wire, wire) for wire in gates], measured)
        for step in range(3)
    ]
    simulated = Simulation(ours).run(CircuitBatch(circuits=tuple(circuits), wires=None))
    for mine, circuit in zip(simulated, circuits, strict=True):
        same(mine, qml.execute([circuit], theirs, diff_method=None, interface="numpy")[0])


SCALED: dict[str, Callable[[], Any]] = {
    "one": lambda: qml.s_prod(2.0, qml.Z(0)),
    "a sum": lambda: 2.0 * qml.Z(0) + 0.5 * qml.X(1),
    "a product": lambda: qml.prod(2.0 * qml.Z(0), qml.X(1)),
    "deep": lambda: qml.sum(qml.prod(2.0 * qml.Z(0), qml.X(1)), qml.Y(0)),
    "Hamiltonian": lambda: qml.Hamiltonian([2.0, 0.5], [qml.Z(0), qml.X(1)]),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", SCALED.values(), ids=SCALED)
def test_coefficients_that_change(device: str, make: Callable[[], Any]) -> None:
    """An observable has those that it has now, and another one has its own."""
    ours, theirs = Simulator(device, parallel=False), make_device(device, 2, {})

    def measured(observable: Any) -> None:
        gates = [qml.RX(0.3, 0), qml.RY(0.4, 1)]
        circuit = qml.tape.QuantumScript(gates, [qml.expval(observable)])
        [mine] = ours.run_batch(CircuitBatch(circuits=(circuit,), wires=2))
        same(mine, qml.execute([circuit], theirs, diff_method=None, interface="numpy")[0])

    observable = make()
    measured(observable)
    observable.data = (5.0, *observable.data[1:])
    measured(observable)
    measured(make())


@pytest.mark.parametrize("device", DEVICES)
def test_equal_circuits_tell_nothing_of_the_next(device: str) -> None:
    ours, theirs = Simulation(make_device(device, 4, {})), make_device(device, 4, {})
    for angles in ([0.1] * 3, [0.1, 0.3, 0.1], [0.2, 0.1, 0.4]):
        circuits = [tape([qml.RX(x, 0), qml.RZ(0.2, 0)], [qml.expval(qml.Z(0))]) for x in angles]
        found = ours.run(CircuitBatch(circuits=tuple(circuits), wires=4))
        for mine, circuit in zip(found, circuits, strict=True):
            same(mine, qml.execute([circuit], theirs, diff_method=None, interface="numpy")[0])
