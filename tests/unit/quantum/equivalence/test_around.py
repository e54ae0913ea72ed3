"""What PennyLane does with a QNode: transforms, derivatives, optimisers, drawings, trackers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

from qcov.qexecutors.simulator import Simulator
from qcov.quantum.cluster import QCluster
from qcov.quantum.qelectron import qelectron

pytestmark = pytest.mark.slow  # thousands of comparisons

WAYS = ["call", "run_later", "thread", "cluster"]
DEVICES = ["default.qubit", "lightning.qubit"]
POINT = np.array([0.3, 0.5, 0.7])
Decorate = Callable[[Any], Any]


def point() -> Any:
    return pnp.array(POINT, requires_grad=True)


def circuit(name: str = "default.qubit", measure: Any = None, **options: Any) -> Any:
    @qml.qnode(qml.device(name, wires=3, seed=42), **options)
    def bare(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.RY(x[1], 1)
        qml.CNOT([0, 1])
        qml.RZ(x[2], 1)
        qml.RX(x[0] * x[1], 1)
        qml.CNOT([1, 2])
        return qml.expval(qml.Z(0) @ qml.Z(1)) if measure is None else measure()

    return bare


@qml.transform
def turned(tape: Any, angle: float = 0.1) -> Any:
    return [tape.copy(operations=[qml.RX(angle, 0), *tape.operations])], lambda results: results[0]


@qml.transform
def doubled(tape: Any) -> Any:
    return [tape, tape], lambda results: results[0] + results[1]


@qml.transform
def answered(tape: Any) -> Any:
    return [], lambda results: 3.14


@partial(qml.transform, is_informative=True)
def names(tape: Any) -> Any:
    return [], lambda results: [operation.name for operation in tape.operations]


def zne() -> Any:
    fold, extrapolate = qml.noise.fold_global, qml.noise.richardson_extrapolate
    return partial(
        qml.noise.mitigate_with_zne, scale_factors=[1, 3], folding=fold, extrapolate=extrapolate
    )


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "a user's": turned,
    "a user's with an argument": partial(turned, angle=0.4),
    "two circuits": doubled,
    "no circuit": answered,
    "informative": names,
    "compile": qml.compile,
    "cancel inverses": qml.transforms.cancel_inverses,
    "merge rotations": qml.transforms.merge_rotations,
    "split non commuting": qml.transforms.split_non_commuting,
    "broadcast expand": qml.transforms.broadcast_expand,
    "defer measurements": qml.defer_measurements,
    "decompose": partial(qml.transforms.decompose, gate_set={"RX", "RZ", "CNOT"}),
    "fold": partial(qml.noise.fold_global, scale_factor=3),
    "mitigate": zne(),
    "simplify": qml.simplify,
    "noise": partial(qml.noise.insert, op=qml.AmplitudeDamping, op_args=0.1),
    "parameter-shift": qml.gradients.param_shift,
    "finite differences": qml.gradients.finite_diff,
    "metric tensor": partial(qml.metric_tensor, approx="block-diag"),
    "adjoint metric tensor": qml.adjoint_metric_tensor,
    "quantum Fisher": qml.gradients.quantum_fisher,
    "classical Fisher": qml.gradients.classical_fisher,
    "other method": lambda qnode: qnode.update(diff_method="finite-diff"),
    "other device": lambda qnode: qnode.update(device=qml.device("lightning.qubit", wires=3)),
    "wrong setting": lambda qnode: qnode.update(bogus=5),
    "draw": qml.draw,
    "draw as the device sees it": partial(qml.draw, level="device"),
    "specs": lambda qnode: lambda x: str(qml.specs(qnode, level="device")(x)),
    "matrix": qml.matrix,
    "snapshots": qml.snapshots,
    "no argument": lambda qnode: lambda _: qnode(),
    "keyword": lambda qnode: lambda x: qnode(x=x),
    "wrong keyword": lambda qnode: lambda x: qnode(x, y=3),
    "batch of parameters": lambda qnode: lambda x: qml.batch_params(qnode)(np.stack([x, 2 * x])),
}


@pytest.mark.parametrize("way", ["call", "run_later"])
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_above(transform: str, name: str, way: str, compare: Any) -> None:
    compare(lambda decorate: TRANSFORMS[transform](decorate(circuit(name)))(point()), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "transform", [key for key in TRANSFORMS if key not in ("two circuits", "informative")][:12]
)
def test_gradients_through_transforms(transform: str, way: str, compare: Any) -> None:
    def case(decorate: Decorate) -> Any:
        below = decorate(TRANSFORMS[transform](circuit()))
        above = TRANSFORMS[transform](decorate(circuit()))
        return [qml.grad(qnode)(point()) for qnode in (above, below) if transform != "no circuit"]

    compare(case, way)


MEASURED: dict[str, Any] = {
    "expval": None,
    "probs": lambda: qml.probs([0, 1]),
    "several": lambda: (qml.expval(qml.Z(0)), qml.probs([1])),
    "list": lambda: [qml.expval(qml.Z(0)), qml.expval(qml.X(1))],
}
METHODS = ["best", "backprop", "adjoint", "parameter-shift", "finite-diff", "hadamard", None, "?"]


def flat(qnode: Any) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        result = qnode(x)
        parts = result if isinstance(result, list | tuple) else [result]
        return qml.math.hstack([qml.math.reshape(part, (-1,)) for part in parts])

    return function


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("measured", MEASURED)
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_jacobians(method: Any, name: str, measured: str, way: str, compare: Any) -> None:
    def case(decorate: Decorate) -> Any:
        qnode = decorate(circuit(name, MEASURED[measured], diff_method=method))
        return qml.jacobian(flat(qnode))(point())

    compare(case, way, 1e-5 if method == "finite-diff" else 1e-7)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("device_vjp", [False, True])
@pytest.mark.parametrize("at_once", ["best", True, False])
def test_adjoint_in_all_its_forms(
    at_once: Any, device_vjp: bool, name: str, way: str, compare: Any
) -> None:
    options = {"diff_method": "adjoint", "grad_on_execution": at_once, "device_vjp": device_vjp}
    compare(lambda decorate: qml.grad(decorate(circuit(name, **options)))(point()), way)


OPTIMISERS: dict[str, Callable[[], Any]] = {
    "gradient descent": lambda: qml.GradientDescentOptimizer(0.1),
    "momentum": lambda: qml.MomentumOptimizer(0.1),
    "Nesterov": lambda: qml.NesterovMomentumOptimizer(0.1),
    "Adagrad": lambda: qml.AdagradOptimizer(0.1),
    "RMSProp": lambda: qml.RMSPropOptimizer(0.1),
    "Adam": lambda: qml.AdamOptimizer(0.1),
    "natural gradient": lambda: qml.QNGOptimizer(0.1),
    "SPSA": lambda: qml.SPSAOptimizer(maxiter=5),
    "natural SPSA": lambda: qml.QNSPSAOptimizer(seed=3),
}


@pytest.mark.parametrize("way", ["call", "run_later"])
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_optimisers(optimiser: str, name: str, way: str, compare: Any) -> None:
    def case(decorate: Decorate) -> Any:
        np.random.seed(7)  # SPSA takes NumPy's own
        qnode, opt, x = decorate(circuit(name)), OPTIMISERS[optimiser](), point()
        x, value = opt.step_and_cost(qnode, x)
        return [value, opt.step(qnode, x)]

    compare(case, way)


def in_a_circuit(decorate: Decorate) -> Any:
    inner = decorate(circuit())

    @qml.qnode(qml.device("default.qubit", wires=1))
    def outer(x: Any) -> Any:
        qml.RX(inner(x), 0)
        return qml.expval(qml.Z(0))

    return outer(point())


def tracked(decorate: Decorate) -> Any:
    qnode = decorate(circuit(diff_method="parameter-shift", shots=10))
    with qml.Tracker(qnode.device) as tracker:
        qml.grad(qnode)(point())
    return [tracker.totals[key] for key in ("batches", "executions", "shots")]


def snapped(decorate: Decorate) -> Any:
    @decorate
    @qml.qnode(qml.device("default.qubit", wires=1))
    def qnode(x: float) -> Any:
        qml.RX(x, 0)
        qml.Snapshot("here")
        qml.Snapshot("energy", measurement=qml.expval(qml.Z(0)))
        return qml.expval(qml.X(0))

    return qml.snapshots(qnode)(0.3)


def gaussian(decorate: Decorate) -> Any:
    @decorate
    @qml.qnode(qml.device("default.gaussian", wires=1))
    def qnode(x: Any) -> Any:
        qml.Displacement(x, 0.1, wires=0)
        return qml.expval(qml.NumberOperator(0))

    return [qnode(0.3), qml.grad(qnode)(pnp.array(0.3, requires_grad=True))]


def attributes(decorate: Decorate) -> Any:
    qnode = decorate(circuit("lightning.qubit", shots=3))
    device = qnode.device
    return [device.name, str(device.wires), str(qnode.shots), isinstance(qnode, qml.QNode)]


CASES = [in_a_circuit, tracked, snapped, gaussian, attributes]


@pytest.mark.parametrize("way", ["call", "run_later"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_in_use(case: Any, way: str, compare: Any) -> None:
    compare(case, way)


def test_adjoint_on_every_executor_of_a_nested_cluster() -> None:

    inner = QCluster(executors=[Simulator(), Simulator("lightning.qubit", parallel="thread")])
    ours = qelectron(circuit("lightning.qubit"), executors=[Simulator("lightning.qubit"), inner])

    def cost(x: Any) -> Any:
        return sum(future.result() for future in [ours.run_later(k * x) for k in range(1, 5)])

    bare = circuit("lightning.qubit")
    expected = qml.grad(lambda x: sum(bare(k * x) for k in range(1, 5)))(point())
    np.testing.assert_allclose(qml.grad(cost)(point()), expected, atol=1e-8)
    assert [record.diff_method for record in ours.history] == ["adjoint"] * 4
    assert {record.device for record in ours.history} == {"default.qubit", "lightning.qubit"}


HOW = {
    "best": "backprop",
    "adjoint": "adjoint",
    "parameter-shift": "parameter-shift",
    "finite-diff": "finite-diff",
}


@pytest.mark.parametrize("method", HOW)
def test_records_say_how_a_circuit_was_differentiated(method: str) -> None:

    ours = qelectron(circuit(diff_method=method))
    ours(POINT)
    assert [record.diff_method for record in ours.history] == [None]
    qml.grad(ours)(point())
    assert {record.diff_method for record in ours.history[1:]} == {HOW[method]}
