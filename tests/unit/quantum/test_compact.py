"""Circuits as their structure and their numbers are the circuits that they were made of."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.pennylane_compact import CompactCircuit, compacted
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.circuit_key import circuit_key
from qcov.quantum.circuit_structure import structure_of
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron

QuantumScript = qml.tape.QuantumScript


def script(gates: Sequence[Any], measurements: Sequence[Any], shots: Any = None) -> Any:
    return QuantumScript(gates, measurements, shots, trainable_params=[])


def tape(*gates: Any, measurements: Sequence[Any] = (), shots: Any = None) -> Any:
    first = [qml.RX(0.1, 0), qml.CRY(0.2, [0, "b"]), qml.Rot(0.3, 0.4, 0.5, "b"), qml.Identity(0)]
    return script([*first, *gates], measurements or [qml.expval(qml.Z(0))], shots)


CIRCUITS: dict[str, Callable[[], Any]] = {
    "analytic": tape,
    "with shots": lambda: tape(shots=[5, 5, 10]),
    "a Hamiltonian": lambda: tape(measurements=[qml.expval(0.5 * qml.Z(0) @ qml.X("b"))]),
    "several measurements": lambda: tape(measurements=[qml.probs(wires=["b"]), qml.var(qml.X(0))]),
    "exact numbers": lambda: tape(qml.RZ(7, 0), qml.RZ(np.float32(0.1), 0), qml.RZ(np.array(2), 0)),
    "no parameters": lambda: script([qml.CNOT([0, 1])], [qml.state()]),
    "no gates": lambda: script([], [qml.probs(wires=[0, 1])]),
    "all controlled": lambda: script(
        [qml.Toffoli([0, 1, 2]), qml.CSWAP([2, 1, 0]), qml.ControlledPhaseShift(0.1, [1, 2])],
        [qml.expval(qml.Z(2))],
    ),
}
every_circuit = pytest.mark.parametrize("make", CIRCUITS.values(), ids=CIRCUITS)


@every_circuit
def test_what_anybody_sees_is_the_circuit(make: Callable[[], Any]) -> None:
    circuit, compact = make(), compacted(make())
    assert type(compact) is CompactCircuit
    assert (compact.shots, compact.wires) == (circuit.shots, circuit.wires)
    assert isinstance(compact, QuantumScript)
    assert type(compact) is CompactCircuit  # nobody has looked at its gates so far
    assert qml.equal(circuit, compact)
    assert type(compact) is QuantumScript
    kinds = [type(value) for operation in compact.operations for value in operation.data]
    assert kinds == [type(value) for operation in circuit.operations for value in operation.data]


@every_circuit
@pytest.mark.parametrize(
    "make_copy",
    [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)), lambda c: c.copy()],
    ids=["copy", "deepcopy", "pickle", "its own"],
)
def test_copies(make_copy: Callable[[Any], Any], make: Callable[[], Any]) -> None:
    new = make_copy(compacted(make()))
    assert type(new) is QuantumScript
    assert qml.equal(new, make())
    assert repr(compacted(make())) == repr(new)


@every_circuit
def test_keys_and_records_are_the_same(make: Callable[[], Any]) -> None:
    assert circuit_key(compacted(make()), "context") == circuit_key(make(), "context")
    assert structure_of(compacted(make())) == structure_of(make())


@pytest.mark.parametrize(
    "gate",
    [
        qml.RX(np.array([0.1, 0.2]), 0),
        qml.QubitUnitary(np.eye(2), 0),
        qml.BasisState(np.array([1, 0]), [0, 1]),
        qml.adjoint(qml.RX(0.1, 0)),
    ],
    ids=lambda gate: gate.name,
)
def test_what_is_not_plain_stays(gate: Any) -> None:
    circuit = script([gate], [qml.expval(qml.Z(0))])
    assert compacted(circuit) is circuit


def test_circuits_of_one_structure_share_no_parameters() -> None:
    first, second = (
        compacted(script([qml.CRX(x, [0, 1])], [qml.expval(qml.Z(1))])) for x in (0.1, 0.2)
    )
    assert first.structure is second.structure
    assert [circuit.operations[0].data for circuit in (first, second)] == [(0.1,), (0.2,)]


def test_a_structure_keeps_nothing_of_the_circuit_that_it_was_found_in() -> None:
    value = qml.numpy.tensor(0.123)
    circuit = compacted(QuantumScript([qml.RX(value, 0)], [qml.expval(qml.Y(0))]))
    structure, kept = circuit.structure, weakref.ref(value)
    del value, circuit
    gc.collect()
    assert kept() is None
    assert structure.counts == (1,)


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "default.mixed"])
def test_coefficients_that_change(device: str) -> None:
    @qml.qnode(qml.device(device, wires=1))
    def bare(x: float, coefficient: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(coefficient * qml.Z(0))

    ours, points = qelectron(bare), [(0.3, 1.0), (0.3, 2.0), (0.4, 2.0), (0.4, 1.0)]
    assert [ours(*point) for point in points] == [bare(*point) for point in points]
    later = [ours.run_later(*point) for point in points]
    np.testing.assert_allclose([one.result() for one in later], [bare(*one) for one in points])


def test_threads_look_at_one_circuit_at_once() -> None:
    for _ in range(50):
        compact, seen = compacted(tape()), list[Any]()
        start = threading.Barrier(4)

        def look(compact: Any = compact, seen: Any = seen, start: Any = start) -> None:
            start.wait()
            seen.append([gate.data for gate in compact.operations])

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [[gate.data for gate in tape().operations]] * 4


class Looking(BaseQExecutor):
    def run_batch(self, batch: CircuitBatch) -> list[float]:
        assert {type(circuit) for circuit in batch.circuits} == {QuantumScript}
        return [circuit.operations[0].data[0] for circuit in batch.circuits]


class Watching(Simulator):
    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        kinds.update(map(type, batch.circuits))
        return super().run_batch(batch)


kinds: set[type] = set()


def test_executors_of_users_get_ordinary_circuits() -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    mixed = qelectron(circuit, executors=[Looking(), Simulator()])
    assert [mixed(0.25), float(mixed(0.25))] == [0.25, pytest.approx(np.cos(0.25))]
    kinds.clear()
    alone = qelectron(circuit, executors=Watching())
    assert [float(alone.run_later(x).result()) for x in (0.0, 0.5)] == pytest.approx(
        np.cos([0.0, 0.5])
    )
    assert kinds == {CompactCircuit}


def test_observables_that_are_new_each_time_are_not_kept() -> None:
    @qelectron
    @qml.qnode(qml.device("lightning.qubit", wires=2))
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        observable = x * qml.Z(0) @ qml.X(1) + 2 * qml.Z(1)
        alive.append(weakref.ref(observable))
        return qml.expval(observable)

    alive: list[weakref.ref[Any]] = []
    for step in range(20):
        circuit(0.1 * step)
        assert circuit.history[-1].structure
    circuit._caller.history.clear()
    gc.collect()
    assert sum(reference() is not None for reference in alive) < 5


class Blocked(Simulator):
    """Runs nothing before it is told to."""

    def run_batch(self, batch: CircuitBatch) -> Any:
        assert go_on.wait(30)
        return super().run_batch(batch)


go_on = threading.Event()


def test_gates_of_circuits_that_wait_are_not_kept() -> None:
    """Else Python's garbage collector walks them again and again."""

    @qelectron(executors=Blocked("lightning.qubit"))
    @qml.qnode(qml.device("lightning.qubit", wires=1))
    def circuit(x: float) -> Any:
        alive.append(weakref.ref(qml.RX(x, 0)))
        return qml.expval(qml.Z(0))

    alive: list[weakref.ref[Any]] = []
    go_on.clear()
    futures = [circuit.run_later(0.1 * step) for step in range(50)]
    gc.collect()
    kept = sum(reference() is not None for reference in alive)
    go_on.set()
    assert len(gather(futures)) == 50
    assert kept < 5
