"""Circuits that follow time, and circuits that follow nothing: Ising chains and random gates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pennylane as qml

from qcov_bench.backends.workload import Numbers, Workload

TIME = 1.0  #: how long the chain is followed


def ising(wires: int, steps: int, _seed: int) -> Workload:
    """The magnetisation of a quenched Ising chain, by Trotter steps.

    Parameters: the coupling and the field. The error of the formula falls as 1/steps^2: the
    first-order steps are symmetric ones but for half a step of the coupling at both ends, and that
    changes neither the state that all begins with nor what is measured. Lloyd, "Universal quantum
    simulators", Science 273 (1996); as a benchmark: Kim et al., "Evidence for the utility of
    quantum computing before fault tolerance", Nature 618 (2023).
    """

    def gates(point: Any) -> None:
        for _ in range(steps):
            for wire in range(wires - 1):
                qml.CNOT([wire, wire + 1])
                qml.RZ(-2 * point[0] * TIME / steps, wires=wire + 1)
                qml.CNOT([wire, wire + 1])
            for wire in range(wires):
                qml.RX(-2 * point[1] * TIME / steps, wires=wire)

    def point(rng: np.random.Generator) -> Numbers:
        return rng.uniform(0.5, 1.5, 2)

    observable = qml.Hamiltonian([1 / wires] * wires, [qml.Z(wire) for wire in range(wires)])
    return Workload(wires=wires, gates=gates, point=point, observable=observable)


def random(wires: int, layers: int, _seed: int) -> Workload:
    """Random rotations and CZs in bricks; deep ones have outcomes as Porter and Thomas say.

    The more probable half of all outcomes then has (1 + ln 2) / 2 of the probability: Aaronson and
    Chen, "Complexity-theoretic foundations of quantum supremacy experiments" (2017),
    arXiv:1612.05903. The arrangement: Brandao, Harrow, Horodecki (2016), arXiv:1208.0692.
    """

    def gates(point: Any) -> None:
        for layer in range(layers):
            for wire in range(wires):
                angles = point[layer][wire]
                qml.RZ(angles[0], wires=wire)
                qml.RY(angles[1], wires=wire)
                qml.RZ(angles[2], wires=wire)
            for wire in range(layer % 2, wires - 1, 2):
                qml.CZ([wire, wire + 1])

    def point(rng: np.random.Generator) -> Numbers:
        angles = rng.uniform(-math.pi, math.pi, (layers, wires, 3))
        angles[..., 1] = np.arccos(rng.uniform(-1, 1, (layers, wires)))  # evenly on the sphere
        return angles

    return Workload(wires=wires, gates=gates, point=point)
