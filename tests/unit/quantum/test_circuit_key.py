"""Keys of circuits: the same in every process, different for circuits that differ in anything."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import scipy.sparse

from qcov.quantum.circuit_key import NotKeyed, circuit_key


def tape(function: Callable[[], Any], shots: Any = None) -> Any:
    return qml.tape.make_qscript(function, shots=shots)()


def key_of(function: Callable[[], Any], shots: Any = None, context: object = None) -> bytes:
    return circuit_key(tape(function, shots), context)


def matrix(qubits: int, angle: float) -> Any:
    values = np.eye(2**qubits, dtype=complex)
    middle = 2 ** (qubits - 1)
    values[middle, middle] = np.exp(1j * angle)
    return values


def gate(*gates: Callable[[], Any]) -> Callable[[], Any]:
    def circuit() -> Any:
        for make in gates:
            make()
        return qml.probs(wires=[0])

    return circuit


def measured(measure: Callable[[], Any]) -> Callable[[], Any]:
    def circuit() -> Any:
        qml.RX(0.1, 0)
        return measure()

    return circuit


def midway(build: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    def circuit() -> Any:
        qml.RX(0.1, 0)
        first = qml.measure(0)
        second = qml.measure(1)
        return build(first, second)

    return circuit


def conditional(expression: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    def build(first: Any, second: Any) -> Any:
        qml.cond(expression(first, second), qml.RX)(0.3, 2)
        return qml.probs(wires=[2])

    return midway(build)


HAMILTONIAN = [qml.Z(0), qml.X(1)]
#: All of them differ, each from its neighbours in one thing only.
CIRCUITS: dict[str, Callable[[], Any]] = {
    "nothing": gate(),
    "RX": gate(lambda: qml.RX(0.3, 0)),
    "an angle by one bit": gate(lambda: qml.RX(np.nextafter(0.3, 1), 0)),
    "an angle below PennyLane's rounding": gate(lambda: qml.RX(0.3 + 1e-12, 0)),
    "a broadcast angle": gate(lambda: qml.RX(np.array([0.3]), 0)),
    "another gate": gate(lambda: qml.RY(0.3, 0)),
    "another wire": gate(lambda: qml.RX(0.3, 1)),
    "a named wire": gate(lambda: qml.RX(0.3, "1")),
    "order": gate(lambda: qml.RX(0.3, 0), lambda: qml.RX(0.4, 0)),
    "other order": gate(lambda: qml.RX(0.4, 0), lambda: qml.RX(0.3, 0)),
    "5 qubits": gate(lambda: qml.QubitUnitary(matrix(5, 0.1), range(5))),
    "5 qubits, the middle": gate(lambda: qml.QubitUnitary(matrix(5, 0.2), range(5))),
    "6 qubits": gate(lambda: qml.QubitUnitary(matrix(6, 0.1), range(6))),
    "6 qubits, the middle": gate(lambda: qml.QubitUnitary(matrix(6, 0.2), range(6))),
    "CNOT": gate(lambda: qml.CNOT([0, 1])),
    "CNOT turned": gate(lambda: qml.CNOT([1, 0])),
    "controlled": gate(lambda: qml.ctrl(qml.Rot(0.1, 0.2, 0.3, 1), 0)),
    "controlled by zero": gate(lambda: qml.ctrl(qml.Rot(0.1, 0.2, 0.3, 1), 0, control_values=[0])),
    "PauliRot": gate(lambda: qml.PauliRot(0.1, "XX", [0, 1])),
    "PauliRot of others": gate(lambda: qml.PauliRot(0.1, "YY", [0, 1])),
    "inside an adjoint": gate(lambda: qml.adjoint(qml.PauliRot(0.1, "XX", [0, 1]))),
    "inside an adjoint, others": gate(lambda: qml.adjoint(qml.PauliRot(0.1, "YY", [0, 1]))),
    "power": gate(lambda: qml.pow(qml.X(0), 0.3)),
    "another power": gate(lambda: qml.pow(qml.X(0), 0.4)),
    "a product": gate(lambda: qml.prod(qml.X(0), qml.Y(1))),
    "another product": gate(lambda: qml.prod(qml.X(0), qml.Z(1))),
    "evolution": gate(lambda: qml.evolve(qml.Z(0) + qml.X(1), 0.3)),
    "Trotter": gate(lambda: qml.TrotterProduct(qml.Z(0) + qml.X(1), 0.3)),
    "Trotter in steps": gate(lambda: qml.TrotterProduct(qml.Z(0) + qml.X(1), 0.3, n=2)),
    "template": gate(lambda: qml.StronglyEntanglingLayers(np.ones((1, 3, 3)), range(3))),
    "ranges": gate(lambda: qml.StronglyEntanglingLayers(np.ones((1, 3, 3)), range(3), ranges=[2])),
    "a basis state": gate(lambda: qml.BasisState(np.array([1, 0]), [0, 1])),
    "another basis state": gate(lambda: qml.BasisState(np.array([0, 1]), [0, 1])),
    "expval": measured(lambda: qml.expval(qml.Z(0))),
    "var": measured(lambda: qml.var(qml.Z(0))),
    "expval elsewhere": measured(lambda: qml.expval(qml.Z(1))),
    "two": measured(lambda: (qml.expval(qml.Z(0)), qml.expval(qml.Z(1)))),
    "Hamiltonian": measured(lambda: qml.expval(qml.Hamiltonian([0.1, 0.2], HAMILTONIAN))),
    "coefficient": measured(lambda: qml.expval(qml.Hamiltonian([0.1, 0.2 + 1e-15], HAMILTONIAN))),
    "sum": measured(lambda: qml.expval(0.1 * qml.Z(0) + 0.2 * qml.X(1))),
    "Hermitian": measured(lambda: qml.expval(qml.Hermitian(matrix(5, 0.0).real, range(5)))),
    "Hermitian 2": measured(lambda: qml.expval(qml.Hermitian(matrix(5, 3.14).real, range(5)))),
    "sparse": measured(
        lambda: qml.expval(qml.SparseHamiltonian(scipy.sparse.csr_matrix(np.eye(2)), [0]))
    ),
    "probs": measured(lambda: qml.probs(wires=[0, 1])),
    "probs turned": measured(lambda: qml.probs(wires=[1, 0])),
    "state": measured(qml.state),
    "samples": measured(lambda: qml.sample(wires=[0])),
    "samples of a type": measured(lambda: qml.sample(wires=[0], dtype="int8")),
    "samples of another": measured(lambda: qml.sample(wires=[0], dtype="float64")),
    "first midway": midway(lambda first, _: qml.expval(first)),
    "second midway": midway(lambda _, second: qml.expval(second)),
    "sum midway": midway(lambda first, second: qml.expval(first + second)),
    "weighted sum midway": midway(lambda first, second: qml.expval(first + 2 * second)),
    "if first": conditional(lambda first, _: first),
    "if not first": conditional(lambda first, _: ~first),
    "if second": conditional(lambda _, second: second),
    "if both": conditional(lambda first, second: first & second),
    "if any": conditional(lambda first, second: first | second),
}


def test_circuits_that_differ_have_different_keys() -> None:
    keys = {name: key_of(circuit) for name, circuit in CIRCUITS.items()}
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize("name", CIRCUITS)
def test_equal_circuits_have_equal_keys(name: str) -> None:
    assert key_of(CIRCUITS[name]) == key_of(CIRCUITS[name])


def test_what_surrounds_a_circuit_counts() -> None:
    circuit = CIRCUITS["RX"]
    contexts: list[object] = [None, "lightning.qubit", {"a": 1}, {"a": 2}, ("a", 1), np.complex64]
    keys = {key_of(circuit, context=context) for context in contexts}
    keys |= {key_of(circuit, shots=shots) for shots in (10, 11, [10, 10], [5, 5, 10])}
    assert len(keys) == len(contexts) + 4
    assert key_of(circuit, context={"a": 1, "b": 2}) == key_of(circuit, context={"b": 2, "a": 1})


HERE = """
import pennylane as qml
from qcov.quantum.circuit_key import circuit_key

def circuit():
    first = qml.measure(0)
    qml.cond(first, qml.RX)(0.3, 2)
    qml.StronglyEntanglingLayers([[[0.1] * 3] * 3], range(3))
    return qml.counts(first), qml.expval(qml.Hamiltonian([1.0, 2.0], [qml.Z(0), qml.X(1)]))

print(circuit_key(qml.tape.make_qscript(circuit, shots=5)(), {"device": "x", "seed": None}).hex())
"""


@pytest.mark.process
def test_keys_are_the_same_in_every_process() -> None:
    keys = {
        subprocess.run(
            [sys.executable, "-c", HERE],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    (key,) = keys
    assert len(key.strip()) == 64


class MyGate(qml.RX):
    pass


def test_what_may_change_behind_a_key_has_none() -> None:
    with pytest.raises(NotKeyed, match="the code of MyGate"):
        key_of(gate(lambda: MyGate(0.1, 0)))
    with pytest.raises(NotKeyed, match="function has no canonical form"):
        key_of(CIRCUITS["RX"], context=key_of)
    with pytest.raises(NotKeyed, match="9 mid-circuit measurements"):
        key_of(midway(lambda first, _: qml.expval(sum((qml.measure(0) for _ in range(8)), first))))


CONTEXTS = [
    np.array([1.0, 2.0]),
    np.array([[1.0], [2.0]]),
    np.array([1.0, 2.0]).tobytes(),
    np.int64(0),
    0,
    0.0,
    -0.0,
    False,
    None,
    "0",
    b"0",
    [0],
    (0, 0),
    {"a": 0},
    {"a": 0.0},
]


def test_contexts_that_differ_have_different_keys() -> None:
    keys = {key_of(CIRCUITS["RX"], context={"noise": [context]}) for context in CONTEXTS}
    assert len(keys) == len(CONTEXTS)


@pytest.mark.parametrize("one", [np.int64(1), True, 1.0, np.float64(1)], ids=repr)
def test_a_wire_has_one_name(one: Any) -> None:
    def circuit(wire: Any) -> bytes:
        return key_of(lambda: (qml.CRX(0.1, [0, wire]), qml.expval(qml.Z(wire)))[1])

    assert circuit(one) == circuit(1) != circuit(2)
