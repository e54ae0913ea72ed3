"""A qelectron gives what the bare QNode gives: value, type, dtype, shape, container."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov.qexecutors.base import BaseQExecutor
from qcov.quantum.qelectron import QElectron, qelectron

ANALYTIC: dict[str, Callable[[], Any]] = {
    "expval": lambda: qml.expval(qml.Z(0)),
    "several": lambda: (qml.expval(qml.Z(0)), qml.var(qml.X(1)), qml.probs([0, 1])),
    "one in a tuple": lambda: (qml.expval(qml.Z(0)),),
    "list": lambda: [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))],
    "dict": lambda: {"energy": qml.expval(qml.Z(0)), "all": qml.probs()},
    "state": qml.state,
    "density matrix": lambda: qml.density_matrix([0, 1]),
    "entropy": lambda: (qml.vn_entropy([0]), qml.purity([1]), qml.mutual_info([0], [1])),
    "Hamiltonian": lambda: qml.expval(qml.Hamiltonian([0.2, 0.5], [qml.Z(0) @ qml.X(1), qml.Y(2)])),
    "Hermitian": lambda: qml.expval(qml.Hermitian(np.array([[1, 0.5], [0.5, 0]]), wires=1)),
    "all wires": qml.probs,
}
SAMPLED: dict[str, tuple[Any, Callable[[], Any]]] = {
    "expval": (20_000, lambda: (qml.expval(qml.Z(0)), qml.expval(qml.X(1)))),
    "sample": (50, lambda: qml.sample(wires=[0, 2])),
    "sample of an observable": (50, lambda: qml.sample(qml.Z(0))),
    "counts": (5000, qml.counts),
    "counts of all outcomes": (5000, lambda: qml.counts(wires=[0], all_outcomes=True)),
    "shot vector": ([1000, 1000, 5000], lambda: (qml.expval(qml.Z(0)), qml.counts(wires=[0]))),
    "repeated shots": (((2000, 3),), lambda: qml.probs([0])),
}


def build(
    measure: Callable[[], Any], device: str = "default.qubit", wires: Any = 4, **options: Any
) -> Any:
    @qml.qnode(qml.device(device, wires=wires), **options)
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(2 * x, 1)
        qml.CNOT([0, 1])
        qml.CNOT([1, 2])
        qml.RZ(x, 3)
        return measure()

    return circuit


def both_ways(circuit: QElectron, *args: Any) -> list[Any]:
    return [circuit(*args), circuit(*args), circuit.run_later(*args).result()]


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("measurement", ANALYTIC)
def test_analytic(
    measurement: str, device: str, executor: BaseQExecutor | None, compare: Any
) -> None:
    bare = build(ANALYTIC[measurement], device)
    if device == "lightning.qubit" and measurement == "entropy":
        bare = bare.update(diff_method="parameter-shift")

    for result in both_ways(qelectron(bare, executors=executor), 0.4):
        compare.same(result, bare(0.4))


@pytest.mark.parametrize("measurement", SAMPLED)
def test_sampled(measurement: str, executor: BaseQExecutor | None, compare: Any) -> None:
    shots, measure = SAMPLED[measurement]
    bare = build(measure, shots=shots)

    for result in both_ways(qelectron(bare, executors=executor), 0.4):
        assert compare.form(result) == compare.form(bare(0.4))
        if not measurement.startswith("sample"):
            compare.close(result, bare(0.4), 0.2)


def test_broadcasting(executor: BaseQExecutor | None, compare: Any) -> None:
    bare = build(lambda: (qml.expval(qml.Z(0)), qml.probs([0])))
    points = np.linspace(0, 1, 5)

    for result in both_ways(qelectron(bare, executors=executor), points):
        compare.same(result, bare(points))


@pytest.mark.parametrize("shots", [None, 40])
@pytest.mark.parametrize("method", [None, "deferred", "tree-traversal", "one-shot"])
def test_mid_circuit_measurements(
    shots: int | None, method: str | None, executor: BaseQExecutor | None, compare: Any
) -> None:
    if shots is None and method in ("one-shot", "tree-traversal"):
        pytest.skip("PennyLane itself cannot do this without shots")

    @qml.qnode(qml.device("default.qubit", wires=3), shots=shots, mcm_method=method)
    def bare(x: float) -> Any:
        qml.RX(x, 0)
        outcome = qml.measure(0)
        qml.cond(outcome, qml.RY)(1.1, 1)
        return qml.expval(qml.Z(1)), qml.expval(outcome)

    for result in both_ways(qelectron(bare, executors=executor), 0.9):
        compare.close(result, bare(0.9), 1e-7 if shots is None else 1.0)


@pytest.mark.parametrize("wires", [[3, 1, 0, 2], None, 5])
def test_order_of_wires(wires: Any, executor: BaseQExecutor | None, compare: Any) -> None:
    bare = build(lambda: (qml.probs(), qml.expval(qml.Z(1))), wires=wires)

    for result in both_ways(qelectron(bare, executors=executor), 0.4):
        compare.same(result, bare(0.4))


def test_named_wires(executor: BaseQExecutor | None, compare: Any) -> None:
    @qml.qnode(qml.device("default.qubit", wires=["q", "a"]))
    def bare(x: float) -> Any:
        qml.RX(x, "a")
        qml.CNOT(["a", "q"])
        return qml.probs(wires=["q", "a"]), qml.probs()

    for result in both_ways(qelectron(bare, executors=executor), 0.4):
        compare.same(result, bare(0.4))


ARGUMENTS = {
    "float": 0.4,
    "NumPy": np.float64(0.4),
    "trainable": qml.numpy.array(0.4, requires_grad=True),
    "fixed": qml.numpy.array(0.4, requires_grad=False),
}


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("interface", ["auto", "numpy", "autograd", None])
def test_types_of_arguments(
    argument: str, interface: str | None, device: str, executor: BaseQExecutor | None, compare: Any
) -> None:
    bare = build(lambda: qml.expval(qml.Z(0)), device, interface=interface)

    for result in both_ways(qelectron(bare, executors=executor), ARGUMENTS[argument]):
        compare.same(result, bare(ARGUMENTS[argument]))


def test_no_parameters(executor: BaseQExecutor | None, compare: Any) -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def bare() -> Any:
        qml.Hadamard(0)
        return qml.expval(qml.X(0))

    for result in both_ways(qelectron(bare, executors=executor)):
        compare.same(result, bare())


def test_templates_and_large_unitaries_are_told_apart(
    executor: BaseQExecutor | None, compare: Any
) -> None:
    """PennyLane's tape hashes collide from 5 qubits on; a cache keyed by them would be wrong."""
    rng = np.random.default_rng(0)
    unitaries = [np.linalg.qr(rng.normal(size=(32, 32)))[0] for _ in range(3)]

    @qml.qnode(qml.device("default.qubit", wires=5))
    def bare(unitary: Any) -> Any:
        qml.StronglyEntanglingLayers(np.ones((1, 5, 3)), wires=range(5))
        qml.QubitUnitary(unitary, wires=range(5))
        return qml.expval(qml.Z(0))

    circuit = qelectron(bare, executors=executor)
    futures = [circuit.run_later(unitary) for unitary in unitaries]
    for unitary, future in zip(unitaries, futures, strict=True):
        compare.same(future.result(), bare(unitary))
        compare.same(circuit(unitary), bare(unitary))


def test_errors_are_those_of_the_bare_qnode(executor: BaseQExecutor | None, compare: Any) -> None:
    bare = build(lambda: qml.expval(qml.Z(7)))
    circuit = qelectron(bare, executors=executor)
    with pytest.raises(qml.exceptions.WireError) as theirs:
        bare(0.4)

    future = circuit.run_later(0.4)
    for ask in (lambda: circuit(0.4), future.result, future.result):
        with pytest.raises(type(theirs.value), match="Cannot run circuit"):
            ask()
