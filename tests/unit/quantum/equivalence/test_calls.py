"""Every measurement, every form of shots, every way to measure in mid-circuit, every interface."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
import pytest

pytestmark = pytest.mark.slow  # thousands of comparisons

WAYS = ["call", "run_later", "thread", "cluster"]
DEVICES = ["default.qubit", "lightning.qubit", "default.mixed"]


def device(name: str = "default.qubit", wires: Any = 3) -> Any:
    return qml.device(name, wires=wires, seed=42)


def circuit(measure: Callable[[], Any], name: str = "default.qubit", **options: Any) -> Any:
    @qml.qnode(device(name), **options)
    def bare(x: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(2 * x, 1)
        qml.CNOT([0, 1])
        qml.RZ(x, 1)
        qml.RX(0.3, 2)
        qml.CNOT([1, 2])
        return measure()

    return bare


def energy() -> Any:
    return qml.Hamiltonian([0.2, 0.5, 0.3], [qml.Z(0) @ qml.X(1), qml.Y(2), qml.X(0)])


MEASUREMENTS: dict[str, Callable[[], Any]] = {
    "expval": lambda: qml.expval(qml.Z(0)),
    "var": lambda: qml.var(qml.X(1) @ qml.Z(0)),
    "probs": lambda: qml.probs(wires=[0, 2]),
    "probs of an observable": lambda: qml.probs(op=qml.X(0)),
    "all": lambda: (qml.expval(qml.Z(0)), qml.var(qml.X(1)), qml.probs()),
    "tuple of one": lambda: (qml.expval(qml.Z(0)),),
    "list": lambda: [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))],
    "dict": lambda: {"e": qml.expval(qml.Z(0)), "p": qml.probs([1])},
    "nested": lambda: (qml.expval(qml.Z(0)), [qml.probs([1]), {"v": qml.var(qml.Z(2))}]),
    "not commuting": lambda: (qml.expval(qml.X(0)), qml.expval(qml.Z(0)), qml.probs([0, 1])),
    "state": qml.state,
    "density matrix": lambda: qml.density_matrix([1, 0]),
    "entropy": lambda: qml.vn_entropy([0], log_base=2),
    "mutual information": lambda: qml.mutual_info([0], [1]),
    "purity": lambda: qml.purity([1]),
    "Hamiltonian": lambda: qml.expval(energy()),
    "Hermitian": lambda: qml.expval(qml.Hermitian(np.array([[1, 0.5], [0.5, 0]]), wires=1)),
    "projector": lambda: qml.expval(qml.Projector([1, 0], wires=[0, 1])),
    "sum": lambda: qml.expval(0.5 * qml.Z(0) + qml.X(1) @ qml.Z(2) - qml.Identity(0)),
    "sample": lambda: qml.sample(wires=[0, 2]),
    "sample of an observable": lambda: qml.sample(qml.Z(0) @ qml.X(1)),
    "counts": qml.counts,
    "all counts": lambda: qml.counts(wires=[0, 1], all_outcomes=True),
    "samples and counts": lambda: (qml.sample(wires=[0]), qml.counts(wires=[1]), qml.probs([2])),
    "shadow": lambda: qml.classical_shadow(wires=[0, 1], seed=3),
    "shadow expval": lambda: qml.shadow_expval(energy(), seed=3),
    "no measurement": lambda: None,
    "a number": lambda: 3.0,
    "an observable": lambda: qml.Z(0),
    "the wrong order": lambda: [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))][::-1],
    "missing wire": lambda: qml.expval(qml.Z(7)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shots", [None, 40, [10, 20, 10]], ids=str)
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_measurements(measurement: str, name: str, shots: Any, way: str, compare: Any) -> None:
    def case(decorate: Callable[[Any], Any]) -> Any:
        return decorate(circuit(MEASUREMENTS[measurement], name, shots=shots))(0.4)

    compare(case, way)


def several() -> Sequence[Any]:
    return qml.expval(qml.Z(0)), qml.probs([1])


SHOTS: dict[str, Callable[[Any], Any]] = {
    "one": lambda dec: dec(circuit(several, shots=1))(0.3),
    "repeated": lambda dec: dec(circuit(several, shots=[(5, 3), 10]))(0.3),
    "vector of one": lambda dec: dec(circuit(several, shots=[10]))(0.3),
    "vector and broadcasting": lambda dec: dec(circuit(several, shots=[5, 6]))(np.ones(3)),
    "set above": lambda dec: qml.set_shots(dec(circuit(several)), 50)(0.3),
    "set below": lambda dec: dec(qml.set_shots(circuit(several), shots=[5, 6]))(0.3),
    "decorator": lambda dec: qml.set_shots(shots=20)(dec(circuit(several)))(0.3),
    "partial": lambda dec: partial(qml.set_shots, shots=20)(dec(circuit(several)))(0.3),
    "taken away": lambda dec: qml.set_shots(dec(circuit(several, shots=20)), None)(0.3),
    "updated": lambda dec: dec(circuit(several)).update(shots=7)(0.3),
    "negative": lambda dec: dec(circuit(several, shots=-1))(0.3),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", SHOTS)
def test_forms_of_shots(form: str, way: str, compare: Any) -> None:
    compare(SHOTS[form], way)


MIDWAY: dict[str, Callable[[Any, Any], Any]] = {
    "expval": lambda first, second: (qml.expval(first), qml.var(second), qml.expval(qml.X(0))),
    "probs": lambda first, second: qml.probs(op=[first, second]),
    "samples": lambda first, second: (qml.sample(first), qml.sample([first, second])),
    "counts": lambda first, second: qml.counts([first, second], all_outcomes=True),
    "arithmetic": lambda first, second: qml.expval(2 * first - second),
    "the value": lambda first, second: first,
}


@pytest.mark.parametrize("way", ["call", "run_later"])
@pytest.mark.parametrize("mode", [None, "hw-like", "fill-shots"])
@pytest.mark.parametrize("shots", [None, 20])
@pytest.mark.parametrize("method", [None, "deferred", "one-shot", "tree-traversal", "bogus"])
@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("measurement", MIDWAY)
def test_mid_circuit(
    measurement: str, name: str, method: Any, shots: Any, mode: Any, way: str, compare: Any
) -> None:
    def case(decorate: Callable[[Any], Any]) -> Any:
        @decorate
        @qml.qnode(device(name), shots=shots, mcm_method=method, postselect_mode=mode)
        def bare(x: float) -> Any:
            qml.RX(x, 0)
            first = qml.measure(0, postselect=None if mode is None else 1)
            qml.cond(first, qml.RY, qml.RX)(1.1, 1)
            return MIDWAY[measurement](first, qml.measure(1))

        return bare(0.9)

    compare(case, way)


WIRES = {"any": None, "named": ["a", "b", "c"], "out of order": [2, 0, 1], "mixed": ["x", 1, "z"]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wires", WIRES)
def test_wires(wires: str, way: str, compare: Any) -> None:
    labels = WIRES[wires] or [0, 1, 2]

    @qml.qnode(device(wires=WIRES[wires]))
    def bare(x: float) -> Any:
        qml.RX(x, labels[0])
        qml.CNOT([labels[0], labels[1]])
        qml.RY(0.4, labels[2])
        return qml.probs(), qml.state()

    compare(lambda decorate: decorate(bare)(0.3), way)
