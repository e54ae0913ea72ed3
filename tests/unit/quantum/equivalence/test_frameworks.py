"""JAX and Torch: values, derivatives, compilation, layers; a qelectron against the bare QNode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

pytestmark = pytest.mark.slow  # thousands of comparisons

WAYS = ["call", "run_later"]
DEVICES = ["default.qubit", "lightning.qubit"]
METHODS = ["best", "backprop", "adjoint", "parameter-shift", "finite-diff", None]
#: The bare QNode's second derivatives by these methods are wrong, or noise.
SECOND_ORDER = {"best": "parameter-shift", "adjoint": "backprop", "finite-diff": "parameter-shift"}
POINT = [0.3, 0.5, 0.7]
Decorate = Callable[[Any], Any]

MEASURED: dict[str, Callable[[], Any]] = {
    "expval": lambda: qml.expval(qml.Z(0) @ qml.Z(1)),
    "probs": lambda: qml.probs(wires=[0, 1]),
    "several": lambda: (qml.expval(qml.Z(0)), qml.probs(wires=[1])),
    "dict": lambda: {"a": qml.expval(qml.X(0)), "b": qml.var(qml.Z(1))},
}


def circuit(measured: str, device: str, **options: Any) -> Any:
    @qml.qnode(qml.device(device, wires=3, seed=42), **options)
    def bare(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.RY(x[1], 1)
        qml.CNOT([0, 1])
        qml.RZ(x[2] * x[0], 1)
        qml.RX(0.3, 1)
        return MEASURED[measured]()

    return bare


def tolerance(method: Any) -> float:
    return 1e-4 if method == "finite-diff" else 1e-6


def flat(qnode: Any) -> Callable[[Any], Any]:
    """All numbers of a result in one array."""

    def function(x: Any) -> Any:
        result = qnode(x)
        parts = result.values() if isinstance(result, dict) else result
        parts = parts if isinstance(result, dict | list | tuple) else [result]
        return qml.math.hstack([qml.math.reshape(part, (-1,)) for part in parts])

    return function


# -- JAX -----------------------------------------------------------------------------------------


def jax_tools() -> dict[str, Callable[[Any], Callable[[Any], Any]]]:
    jax = pytest.importorskip("jax")
    return {
        "value": lambda qnode: qnode,
        "jit": jax.jit,
        "vmap": lambda qnode: lambda x: jax.vmap(qnode)(jax.numpy.stack([x, 2 * x])),
        "jit of vmap": lambda qnode: (
            lambda x: jax.jit(jax.vmap(qnode))(jax.numpy.stack([x, 2 * x]))
        ),
        "jacrev": jax.jacrev,
        "jacfwd": jax.jacfwd,
        "jit of jacobian": lambda qnode: jax.jit(jax.jacobian(qnode)),
        "jacobian of jit": lambda qnode: jax.jacobian(jax.jit(qnode)),
        "value and grad": lambda qnode: jax.value_and_grad(lambda x: flat(qnode)(x).sum()),
        "hessian": jax.hessian,
        "broadcast": lambda qnode: lambda x: qnode(jax.numpy.stack([x, 2 * x], axis=1)),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("measured", ["expval", "several"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tool", list(jax_tools()))
def test_jax(tool: str, device: str, measured: str, method: Any, way: str, compare: Any) -> None:
    import jax

    if tool == "hessian":
        method = SECOND_ORDER.get(method, method)

    def case(decorate: Decorate) -> Any:
        options = {"max_diff": 2} if tool == "hessian" else {}
        qnode = decorate(circuit(measured, device, diff_method=method, **options))
        return jax_tools()[tool](qnode)(jax.numpy.array(POINT))

    compare(case, way, tolerance(method))


@pytest.mark.parametrize("way", [*WAYS, "cluster"])
@pytest.mark.parametrize("interface", ["auto", "jax", "jax-jit"])
@pytest.mark.parametrize("shots", [None, 50, [10, 20]], ids=str)
@pytest.mark.parametrize("measured", MEASURED)
@pytest.mark.parametrize("device", DEVICES)
def test_jax_values(
    device: str, measured: str, shots: Any, interface: str, way: str, compare: Any
) -> None:
    import jax

    def case(decorate: Decorate) -> Any:
        qnode = decorate(circuit(measured, device, shots=shots, interface=interface))
        return [qnode(jax.numpy.array(POINT)), qnode(np.array(POINT)), qnode(POINT)]

    compare(case, way)


# -- Torch ---------------------------------------------------------------------------------------


def torch_tools() -> dict[str, Callable[[Any, Any], Any]]:
    torch = pytest.importorskip("torch")
    functional = torch.autograd.functional

    def backward(qnode: Any, x: Any) -> Any:
        value = flat(qnode)(x).sum()
        value.backward()
        return [value.detach(), x.grad]

    def quietly(qnode: Any, x: Any) -> Any:
        with torch.no_grad():
            return qnode(x)

    return {
        "value": lambda qnode, x: qnode(x),
        "backward": backward,
        "no grad": quietly,
        "detached": lambda qnode, x: qnode(x.detach()),
        "jacobian": lambda qnode, x: functional.jacobian(flat(qnode), x),
        "hessian": lambda qnode, x: functional.hessian(lambda y: flat(qnode)(y).sum(), x),
        "broadcast": lambda qnode, x: qnode(torch.stack([x, 2 * x], dim=1)),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("measured", ["expval", "several"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tool", ["value", "backward", "no grad", "jacobian", "hessian"])
def test_torch(
    tool: str, device: str, measured: str, method: Any, precision: str, way: str, compare: Any
) -> None:
    torch = pytest.importorskip("torch")
    if tool == "hessian":
        method = SECOND_ORDER.get(method, method)

    def case(decorate: Decorate) -> Any:
        options = {"max_diff": 2} if tool == "hessian" else {}
        qnode = decorate(circuit(measured, device, diff_method=method, **options))
        x = torch.tensor(POINT, dtype=getattr(torch, precision), requires_grad=True)
        return torch_tools()[tool](qnode, x)

    compare(case, way, max(tolerance(method), 1e-3 if precision == "float32" else 0))


@pytest.mark.parametrize("way", [*WAYS, "cluster"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["best", "parameter-shift"])
def test_torch_layers(method: str, device: str, way: str, compare: Any) -> None:
    torch = pytest.importorskip("torch")

    def case(decorate: Decorate) -> Any:
        @decorate
        @qml.qnode(qml.device(device, wires=2), diff_method=method)
        def qnode(inputs: Any, weights: Any) -> Any:
            qml.AngleEmbedding(inputs, wires=range(2))
            qml.BasicEntanglerLayers(weights, wires=range(2))
            return [qml.expval(qml.Z(wire)) for wire in range(2)]

        torch.manual_seed(3)
        layer = qml.qnn.TorchLayer(qnode, {"weights": (2, 2)})
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), layer, torch.nn.Linear(2, 1))
        output = model(torch.linspace(0, 1, 12).reshape(4, 3))
        output.sum().backward()
        return [output.detach(), layer.weights.grad, model[0].weight.grad]

    compare(case, way, 1e-5)
