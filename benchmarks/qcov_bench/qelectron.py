"""What a qelectron costs, next to the bare QNode in the same run.

Both sides are measured in turn, so that what else the machine does hits both, and the medians are
compared. The user's garbage collector is left as it is, and circuits are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pennylane as qml

from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron
from qcov_bench.rows import Row, recorded

_WIRES = 4
_CALL_GOALS = {"lightning.qubit": 0.6, "default.qubit": 0.9}
_LATER_GOALS = {"lightning.qubit": 0.4, "default.qubit": 0.25}
_GRADIENT_GOALS = {"parameter-shift": 1.0, "best": 1.1}


def rows() -> Iterable[Row]:
    """Measure all comparisons."""
    for device in _CALL_GOALS:
        yield synchronous_call(device)
    for device in _LATER_GOALS:
        yield thousand_later(device)
    for method in _GRADIENT_GOALS:
        for device in _CALL_GOALS:
            yield gradient(device, method)


def synchronous_call(device: str, calls: int = 100, rounds: int = 9) -> Row:
    """One call: 4 qubits, 7 gates, nothing trainable."""
    bare = _circuit(device)
    ours = qelectron(bare)
    point = np.linspace(0.1, 0.4, _WIRES)

    def loop(circuit: Callable[..., Any]) -> Callable[[], object]:
        return lambda: [circuit(point) for _ in range(calls)]

    mine, others = recorded(loop(ours), loop(bare), repeats=rounds)
    return Row(
        name=f"qelectron: a synchronous call, {device}",
        ours=mine / calls,
        theirs=others / calls,
        yardstick="the bare QNode",
        ratio=_CALL_GOALS[device],
    )


def thousand_later(device: str, rounds: int = 5) -> Row:
    """1,000 futures against a loop of 1,000 calls: 4 qubits, 7 gates."""
    bare = _circuit(device)
    ours = qelectron(bare)
    points = np.random.default_rng(0).random((1000, _WIRES))
    mine, others = recorded(
        lambda: gather([ours.run_later(point) for point in points]),
        lambda: [bare(point) for point in points],
        repeats=rounds,
    )
    return Row(
        name=f"qelectron: 1,000 run_later, {device}",
        ours=mine,
        theirs=others,
        yardstick="a loop of 1,000 bare calls",
        ratio=_LATER_GOALS[device],
        count=1000,
    )


def gradient(device: str, method: str, rounds: int = 21) -> Row:
    """One gradient with respect to 20 parameters: 4 qubits, 35 gates."""
    bare = _layers(device, method)
    ours = qelectron(bare)
    point = qml.numpy.array(np.linspace(0.1, 0.9, 20).reshape(5, _WIRES), requires_grad=True)
    mine, others = recorded(
        lambda: qml.grad(ours)(point), lambda: qml.grad(bare)(point), repeats=rounds
    )
    return Row(
        name=f"qelectron: a gradient, 20 parameters, {method}, {device}",
        ours=mine,
        theirs=others,
        yardstick="the bare QNode",
        ratio=_GRADIENT_GOALS[method],
    )


def _circuit(device: str) -> Any:
    @qml.qnode(qml.device(device, wires=_WIRES))
    def circuit(angles: Any) -> Any:
        _layer(angles)
        return qml.expval(qml.Z(0))

    return circuit


def _layers(device: str, method: str) -> Any:
    @qml.qnode(qml.device(device, wires=_WIRES), diff_method=method)
    def circuit(angles: Any) -> Any:
        for layer in angles:
            _layer(layer)
        return qml.expval(qml.Z(0))

    return circuit


def _layer(angles: Any) -> None:
    for wire in range(_WIRES):
        qml.RX(angles[wire], wires=wire)
    for wire in range(_WIRES - 1):
        qml.CNOT(wires=[wire, wire + 1])
