"""What a qelectron costs, next to the bare QNode in the same run.

Both sides are measured in turn, so that what else the machine does hits both, and the medians are
compared. The user's garbage collector is left as it is, and circuits are recorded.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml

from qcov import records
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron

_WIRES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison."""

    name: str
    ours: float  #: seconds
    theirs: float  #: seconds
    goal: float  #: the ratio that `ours / theirs` must not exceed

    @property
    def ratio(self) -> float:
        """How long ours takes, in units of theirs."""
        return self.ours / self.theirs


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
    return Row(name="synchronous call", ours=mine / calls, theirs=others / calls, goal=1.0)


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
    return Row(name="1,000 run_later", ours=mine, theirs=others, goal=0.5)


def _in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Median seconds of both, with every circuit recorded."""
    times: tuple[list[float], list[float]] = ([], [])
    with records.collecting() as sink:
        for function in (ours, theirs):
            function()
        for _ in range(rounds):
            for function, taken in zip((ours, theirs), times, strict=True):
                started = time.perf_counter()
                function()
                taken.append(time.perf_counter() - started)
            sink.drain()
    return statistics.median(times[0]), statistics.median(times[1])


def _circuit() -> Any:
    @qml.qnode(qml.device("lightning.qubit", wires=_WIRES))
    def circuit(angles: Any) -> Any:
        for wire in range(_WIRES):
            qml.RX(angles[wire], wires=wire)
        for wire in range(_WIRES - 1):
            qml.CNOT(wires=[wire, wire + 1])
        return qml.expval(qml.Z(0))

    return circuit
