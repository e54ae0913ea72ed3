"""What a qelectron costs, next to the bare QNode in the same run.

Both sides are measured in turn, so that what else the machine does hits both, and the medians are
compared. The user's garbage collector is left as it is, and circuits are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml

from qcov import records
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron
from qcov_bench.rows import Row, interleaved

_WIRES = 4


def rows() -> list[Row]:
    """Measure all comparisons."""
    return [synchronous_call(), thousand_later()]


def synchronous_call(calls: int = 100, rounds: int = 9) -> Row:
    """One call on lightning.qubit: 4 qubits, 7 gates."""
    bare = _circuit()
    ours = qelectron(bare)
    point = np.linspace(0.1, 0.4, _WIRES)

    def loop(circuit: Callable[..., Any]) -> Callable[[], object]:
        return lambda: [circuit(point) for _ in range(calls)]

    mine, others = _in_turn(loop(ours), loop(bare), rounds)
    return Row(
        name="qelectron: a synchronous call",
        ours=mine / calls,
        theirs=others / calls,
        yardstick="the bare QNode",
        ratio=1.0,
    )


def thousand_later(rounds: int = 5) -> Row:
    """1,000 futures against a loop of 1,000 calls, on lightning.qubit: 4 qubits, 7 gates."""
    bare = _circuit()
    ours = qelectron(bare)
    points = np.random.default_rng(0).random((1000, _WIRES))
    mine, others = _in_turn(
        lambda: gather([ours.run_later(point) for point in points]),
        lambda: [bare(point) for point in points],
        rounds,
    )
    return Row(
        name="qelectron: 1,000 run_later",
        ours=mine,
        theirs=others,
        yardstick="a loop of 1,000 bare calls",
        ratio=0.5,
        count=1000,
    )


def _in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds of both, warm, with every circuit recorded."""
    with records.collecting() as sink:
        for function in (ours, theirs):
            function()
        medians = interleaved(ours, theirs, repeats=repeats)
        sink.drain()
    return medians


def _circuit() -> Any:
    @qml.qnode(qml.device("lightning.qubit", wires=_WIRES))
    def circuit(angles: Any) -> Any:
        for wire in range(_WIRES):
            qml.RX(angles[wire], wires=wire)
        for wire in range(_WIRES - 1):
            qml.CNOT(wires=[wire, wire + 1])
        return qml.expval(qml.Z(0))

    return circuit
