"""Circuits that everybody knows: GHZ states, Fourier transforms, Grover's search.

Each function makes one `Workload`; what it shows is said there, with its source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pennylane as qml

from qcov_bench.backends.workload import Workload


def ghz(wires: int, _depth: int, _seed: int) -> Workload:
    """All qubits alike: (|0...0> + |1...1>) / sqrt(2), by a Hadamard and a chain of CNOTs.

    Both outcomes have probability 1/2; any other shows an error. Greenberger, Horne, Zeilinger,
    "Going beyond Bell's theorem" (1989), arXiv:0712.0921.
    """

    def gates(_point: Any) -> None:
        qml.Hadamard(0)
        for wire in range(wires - 1):
            qml.CNOT([wire, wire + 1])

    return Workload(wires=wires, gates=gates)


# -- the Fourier transform ---------------------------------------------------------------------


def qft(wires: int, _depth: int, seed: int) -> Workload:
    """Add one to a number in Fourier space: |k>, transform, phases, transform back: |k + 1>.

    One outcome has probability 1. The transform is Coppersmith's (IBM RC 19642, 1994,
    arXiv:quant-ph/0201067); the circuit around it is method 1 of QED-C's benchmark: Lubinski et
    al., "Application-oriented performance benchmarks for quantum computing" (2021),
    arXiv:2110.03137.
    """
    number = number_for(wires, seed)

    def gates(_point: Any) -> None:
        _write(number, wires)
        fourier(wires)
        for wire in range(wires):
            qml.PhaseShift(2 * math.pi / 2 ** (wires - wire), wires=wire)
        fourier(wires, back=True)

    return Workload(wires=wires, gates=gates)


def fourier(wires: int, *, back: bool = False) -> None:
    """Queue the gates of the Fourier transform without its swaps, or those of its inverse.

    The first qubit is the highest digit of the number that goes in, and the lowest of what comes
    out.
    """
    steps = list(_steps(wires))
    for first, other in reversed(steps) if back else steps:
        if first == other:
            qml.Hadamard(first)
        else:
            angle = math.pi / 2 ** (other - first)
            qml.ControlledPhaseShift(-angle if back else angle, wires=[other, first])


def _steps(wires: int) -> Iterator[tuple[int, int]]:
    """A qubit by itself (a Hadamard), then with each of those after it."""
    for first in range(wires):
        for other in range(first, wires):
            yield first, other


def number_for(wires: int, seed: int) -> int:
    """The number that a seed stands for, below 2^wires."""
    digits = np.random.default_rng(seed).integers(0, 2, wires)
    return int("".join(map(str, digits)), 2)


def _write(number: int, wires: int) -> None:
    for wire, digit in enumerate(format(number, f"0{wires}b")):
        if digit == "1":
            qml.X(wire)


# -- Grover's search ---------------------------------------------------------------------------


def grover(wires: int, iterations: int, seed: int) -> Workload:
    """Find one marked outcome among 2^n; `depth` is the number of iterations.

    It is found with probability sin^2((2 r + 1) arcsin(2^(-n/2))) after r of them. Grover, STOC
    (1996), arXiv:quant-ph/9605043; the formula: Boyer, Brassard, Hoyer, Tapp (1998),
    arXiv:quant-ph/9605034.
    """
    marked = number_for(wires, seed)

    def gates(_point: Any) -> None:
        for wire in range(wires):
            qml.Hadamard(wire)
        for _ in range(iterations):
            _flip_sign(marked, wires)
            for wire in range(wires):
                qml.Hadamard(wire)
            _flip_sign(0, wires)
            for wire in range(wires):
                qml.Hadamard(wire)

    return Workload(wires=wires, gates=gates)


def _flip_sign(number: int, wires: int) -> None:
    """Flip the sign of one basis state."""
    others = 2**wires - 1 - number
    _write(others, wires)
    qml.Hadamard(wires - 1)
    qml.MultiControlledX(list(range(wires)))
    qml.Hadamard(wires - 1)
    _write(others, wires)


def best_iterations(wires: int) -> int:
    """How many iterations find the outcome most probably.

    >>> [best_iterations(wires) for wires in (2, 4, 8)]
    [1, 3, 12]
    """
    return max(1, math.floor(math.pi / 4 / math.asin(2 ** (-wires / 2))))


def success(wires: int, iterations: int) -> float:
    """How probably Grover's search finds what it looks for; see `grover`.

    >>> round(success(2, 1), 12)
    1.0
    """
    return math.sin((2 * iterations + 1) * math.asin(2 ** (-wires / 2))) ** 2
