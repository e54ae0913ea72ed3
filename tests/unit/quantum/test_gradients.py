"""Derivatives are right through every path, and shifted circuits travel as one batch."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

from qcov.errors import CircuitError
from qcov.qexecutors.base import BaseQExecutor
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.qelectron import QElectron, qelectron

POINT = np.array([0.3, 0.5, 0.7])
#: They differ in who differentiates: backprop, adjoint, parameter-shift over a cluster.
DIFFERENTIATORS = ["its own", "lightning.qubit", "cluster"]
METHODS = ["best", "parameter-shift", "finite-diff", "adjoint", "backprop"]


def build(device: str = "default.qubit", method: str = "best", **options: Any) -> Any:
    @qml.qnode(qml.device(device, wires=2), diff_method=method, **options)
    def circuit(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.RY(x[1], 1)
        qml.CNOT([0, 1])
        qml.RZ(x[2], 1)
        qml.RX(x[0] * x[1], 1)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    return circuit


def reference(function: Callable[..., Any]) -> Any:
    """Differentiate the bare circuit by backprop, which is right to any order."""
    return function(build())


def later(circuit: QElectron) -> Callable[[Any], Any]:
    return lambda x: circuit.run_later(x).result()


PATHS: dict[str, Callable[[QElectron], Callable[[Any], Any]]] = {
    "call": lambda circuit: circuit,
    "run_later": later,
}


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("executor", DIFFERENTIATORS, indirect=True)
def test_first_derivative(
    path: str, method: str, device: str, executor: BaseQExecutor | None
) -> None:
    if (device, method) == ("lightning.qubit", "backprop"):
        pytest.skip("lightning has no backprop")
    circuit = PATHS[path](qelectron(build(device, method), executors=executor))
    x = pnp.array(POINT, requires_grad=True)

    np.testing.assert_allclose(
        qml.grad(circuit)(x), qml.grad(build())(x), atol=1e-5 if method == "finite-diff" else 1e-8
    )


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("method", ["best", "parameter-shift", "adjoint"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("executor", DIFFERENTIATORS, indirect=True)
def test_second_derivative(
    path: str, method: str, device: str, executor: BaseQExecutor | None
) -> None:
    """PennyLane itself is silently wrong here for adjoint, and for shifts unless max_diff=2."""
    circuit = PATHS[path](qelectron(build(device, method), executors=executor))
    x = pnp.array(POINT, requires_grad=True)

    hessian = qml.jacobian(qml.grad(circuit))(x)
    np.testing.assert_allclose(hessian, qml.jacobian(qml.grad(build()))(x), atol=1e-7)


def test_shifted_circuits_are_one_batch(recording: Any) -> None:
    circuit = qelectron(build(method="parameter-shift"), executors=recording)

    qml.grad(circuit)(pnp.array(POINT, requires_grad=True))
    assert recording.sizes == [1, 8]


def test_futures_that_are_differentiated_are_one_batch(recording: Any) -> None:
    circuit = qelectron(build(method="parameter-shift"), executors=recording)

    def cost(x: Any) -> Any:
        futures = [circuit.run_later(factor * x) for factor in (1.0, 2.0, 3.0)]
        return sum(future.result() for future in futures)

    bare = build()
    x = pnp.array(POINT, requires_grad=True)
    expected = qml.grad(lambda y: bare(y) + bare(2 * y) + bare(3 * y))(x)
    np.testing.assert_allclose(qml.grad(cost)(x), expected, atol=1e-8)
    assert recording.sizes == [3, 24]


def test_a_single_first_argument_is_trainable() -> None:
    """Its index is 0, which is false."""

    @qml.qnode(qml.device("lightning.qubit", wires=1))
    def bare(x: Any, y: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(y, 0)
        return qml.expval(qml.Z(0))

    circuit = qelectron(bare)
    arguments = pnp.array(0.3, requires_grad=True), pnp.array(0.4, requires_grad=False)
    np.testing.assert_allclose(qml.grad(circuit)(*arguments), qml.grad(bare)(*arguments))


def test_gradient_with_shots_of_the_executor() -> None:
    circuit = qelectron(build(), executors=Simulator(shots=20_000, seed=7))
    x = pnp.array(POINT, requires_grad=True)
    np.testing.assert_allclose(qml.grad(circuit)(x), qml.grad(build())(x), atol=0.05)


def test_optimiser(executor: BaseQExecutor | None) -> None:
    x = y = pnp.array(POINT, requires_grad=True)
    optimiser = qml.GradientDescentOptimizer(0.1)
    circuit, bare = qelectron(build(), executors=executor), build()
    for _ in range(3):
        x, y = optimiser.step(circuit, x), optimiser.step(bare, y)
    np.testing.assert_allclose(x, y, atol=1e-7)


# -- frameworks --------------------------------------------------------------------------------


@pytest.fixture
def jax() -> Any:
    module = pytest.importorskip("jax")
    module.config.update("jax_enable_x64", True)
    return module


JAX_WAYS = {
    "grad": lambda jax, f: jax.grad(f),
    "jit": lambda jax, f: jax.jit(f),
    "jit of grad": lambda jax, f: jax.jit(jax.grad(f)),
    "value": lambda jax, f: f,
    "jit of vmap": lambda jax, f: lambda x: jax.jit(jax.vmap(f))(jax.numpy.stack([x, 2 * x])),
    "jit of vmap of grad": lambda jax, f: (
        lambda x: jax.jit(jax.vmap(jax.grad(f)))(jax.numpy.stack([x, 2 * x]))
    ),
}
JAX_METHODS = [
    ("default.qubit", "best"),
    ("lightning.qubit", "best"),
    ("lightning.qubit", "adjoint"),
    ("lightning.qubit", "parameter-shift"),
]


@pytest.mark.parametrize(("device", "method"), JAX_METHODS)
@pytest.mark.parametrize("way", JAX_WAYS)
@pytest.mark.parametrize("path", PATHS)
def test_jax(path: str, way: str, method: str, device: str, jax: Any) -> None:
    circuit = qelectron(build(device, method))
    x = jax.numpy.array(POINT)

    ours = JAX_WAYS[way](jax, PATHS[path](circuit))(x)
    theirs = JAX_WAYS[way](jax, build())(x)
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("method", ["best", "adjoint", "parameter-shift"])
def test_jax_second_derivative(method: str, jax: Any) -> None:
    @qml.qnode(qml.device("lightning.qubit", wires=1), diff_method=method)
    def bare(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    for circuit in (qelectron(bare), later(qelectron(bare))):
        assert jax.grad(jax.grad(circuit))(0.3) == pytest.approx(-np.cos(0.3), abs=1e-6)


def test_jax_futures_belong_to_their_trace(jax: Any) -> None:
    """A future left over from one trace does not spoil the next."""
    circuit = qelectron(build())
    kept = []

    def careless(x: Any) -> Any:
        circuit.run_later(x)
        kept.append(circuit.run_later(x))
        return circuit.run_later(x).result()

    for _ in range(2):
        jax.grad(careless)(jax.numpy.array(POINT))
    expected = jax.grad(build())(jax.numpy.array(POINT))
    np.testing.assert_allclose(jax.grad(later(circuit))(jax.numpy.array(POINT)), expected)


def test_jax_futures_belong_to_their_thread(jax: Any) -> None:
    """Bound in another thread, their derivative would silently be zero."""
    circuit = qelectron(build())

    def careless(x: Any) -> Any:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(circuit.run_later(x).result).result()

    with pytest.raises(CircuitError, match="another thread"):
        jax.grad(careless)(jax.numpy.array(POINT))


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("method", ["best", "parameter-shift", "adjoint"])
@pytest.mark.parametrize("path", PATHS)
def test_torch(path: str, method: str, device: str, torch: Any) -> None:
    circuit = PATHS[path](qelectron(build(device, method)))
    x, y = (torch.tensor(POINT, requires_grad=True) for _ in range(2))

    value, expected = circuit(x), build()(y)
    value.backward()
    expected.backward()
    assert value.dtype == build(device, method)(y).dtype  # lightning's is single precision
    torch.testing.assert_close(value, expected.to(value.dtype))
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("trainable", [False, True])
def test_torch_tensors_may_change_after_the_call(torch: Any, trainable: bool) -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def turned(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=trainable)
    future = qelectron(turned).run_later(x)
    with torch.no_grad():
        x.zero_()
    value = future.result()
    assert float(value) == pytest.approx(np.cos(0.3))
    if trainable:
        value.backward()
        assert float(x.grad) == pytest.approx(-np.sin(0.3))


def test_torch_hessian(torch: Any) -> None:
    for method in ("best", "parameter-shift"):
        circuit = qelectron(build("lightning.qubit", method))
        hessian = torch.autograd.functional.hessian(circuit, torch.tensor(POINT))
        expected = torch.autograd.functional.hessian(build(), torch.tensor(POINT))
        torch.testing.assert_close(hessian, expected)


class Halved(Simulator):
    """A simulator whose results its subclass changes."""

    def run_batch(self, batch: Any) -> Any:
        return [0.5 * result for result in super().run_batch(batch)]


def test_a_changed_simulator_is_differentiated_by_what_it_gives() -> None:
    @qelectron(executors=Halved())
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    x = qml.numpy.array(0.3, requires_grad=True)
    assert float(qml.grad(circuit)(x)) == pytest.approx(-0.5 * np.sin(0.3))
    assert circuit.history[-1].diff_method == "parameter-shift"


@pytest.mark.parametrize("interface", ["torch", "autograd", "jax", "jax.vmap"])
def test_broadcast_circuits_where_parameter_shift_stands_in(interface: str) -> None:
    pytest.importorskip(interface.partition(".")[0])
    mixed = [Simulator(), Simulator("lightning.qubit")]

    @qelectron(executors=mixed)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    points, slopes = np.array([0.3, 0.4]), -np.sin([0.3, 0.4])
    if interface == "torch":
        import torch

        x = torch.tensor(points, requires_grad=True)
        circuit(x).sum().backward()
        np.testing.assert_allclose(x.grad, slopes, atol=1e-6)
    elif interface == "autograd":
        x = qml.numpy.array(points, requires_grad=True)
        np.testing.assert_allclose(qml.jacobian(circuit)(x), np.diag(slopes), atol=1e-6)
    else:
        import jax

        x = jax.numpy.array(points)
        found = jax.jacobian(jax.vmap(circuit) if "vmap" in interface else circuit)(x)
        np.testing.assert_allclose(found, np.diag(slopes), atol=1e-6)


MIXED: dict[str, Callable[[Any, Any], Any]] = {
    "autograd": lambda _, f: qml.grad(lambda w: qml.grad(lambda x: f(x, w))(pnp.array(0.3)))(
        pnp.array(0.5)
    ),
    "jax": lambda jax, f: jax.grad(lambda w: jax.grad(lambda x: f(x, w))(0.3))(0.5),
    "jax vmap": lambda jax, f: jax.grad(
        lambda w: jax.vmap(jax.grad(lambda x: f(x, w)))(jax.numpy.array([0.3]))[0]
    )(0.5),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("interface", MIXED)
@pytest.mark.parametrize("executor", [Simulator, lambda: Simulator("lightning.qubit")])
def test_mixed_second_derivatives(executor: Any, interface: str, path: str, jax: Any) -> None:
    """Each parameter follows one derivative only, and together they are of second order."""

    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: Any, w: Any) -> Any:
        qml.RX(x, 0)
        qml.RX(w, 0)
        return qml.expval(qml.Z(0))

    electron = qelectron(circuit, executors=executor())
    call = electron if path == "call" else lambda x, w: electron.run_later(x, w).result()
    assert float(MIXED[interface](jax, call)) == pytest.approx(-np.cos(0.8), abs=1e-5)


def by_torch(function: Callable[[Any], Any]) -> float:
    torch = pytest.importorskip("torch")
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    value = function(x)
    for _ in range(3):
        [value] = torch.autograd.grad(value, x, create_graph=True)
    return float(value.detach())


def by_autograd(function: Callable[[Any], Any]) -> float:
    return float(qml.grad(qml.grad(qml.grad(function)))(pnp.array(0.3, requires_grad=True)))


THIRD: dict[str, Callable[[Any, Any], float]] = {
    "autograd": lambda _, f: by_autograd(f),
    "torch": lambda _, f: by_torch(f),
    "jax": lambda jax, f: float(jax.grad(jax.grad(jax.grad(f)))(0.3)),
}


@pytest.mark.parametrize("executor", ["its own", "changed", "lightning.qubit"])
@pytest.mark.parametrize("framework", THIRD)
def test_third_derivatives(framework: str, executor: str, jax: Any) -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    executors = {"changed": Halved(), "lightning.qubit": Simulator("lightning.qubit")}
    electron = qelectron(circuit, executors=executors.get(executor))
    factor = 0.25 if executor == "changed" else 1

    if framework == "autograd" and executor != "its own":
        with pytest.raises(CircuitError, match="need backprop"):
            by_autograd(electron)
        return
    found = THIRD[framework](jax, lambda x: electron(x) ** 2)
    assert found == pytest.approx(factor * 4 * np.sin(0.6), abs=1e-6)
