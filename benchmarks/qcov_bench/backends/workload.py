"""A circuit to be measured: its gates, its parameters, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml

Numbers = np.ndarray


def _no_parameters(_rng: np.random.Generator) -> Numbers:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One circuit of a family, the same for every backend.

    Args:
        wires: How many qubits it has, numbered from 0.
        gates: Queues the gates for an array of parameters.
        point: Draws the parameters; none by default.
        observable: The expectation value that is asked for; None asks for the distribution of
            all outcomes.
    """

    wires: int
    gates: Callable[[Any], None]
    point: Callable[[np.random.Generator], Numbers] = _no_parameters
    observable: Any | None = None

    @property
    def differentiable(self) -> bool:
        """Whether a gradient of it can be asked for: it has parameters and one value."""
        return self.observable is not None and self.points(1, seed=0)[0].size > 0

    def points(self, count: int, *, seed: int) -> list[Numbers]:
        """Parameters of so many circuits; the same for the same seed."""
        rng = np.random.default_rng(seed)
        return [self.point(rng) for _ in range(count)]

    def function(self, *, shots: int | None) -> Callable[[Any], Any]:
        """The quantum function: what `qml.qnode` is put around.

        Distributions are asked for as probabilities where circuits are analytic, and as counts
        where they have shots, which a backend gives without 2^n numbers.
        """

        def circuit(point: Any) -> Any:
            self.gates(point)
            if self.observable is not None:
                return qml.expval(self.observable)
            wires = range(self.wires)
            return qml.probs(wires=wires) if shots is None else qml.counts(wires=wires)

        return circuit

    def tape(self, point: Any, *, shots: int | None) -> Any:
        """The circuit as PennyLane's `QuantumScript`."""
        return qml.tape.make_qscript(self.function(shots=shots), shots=shots)(point)


def fixed(operations: Sequence[Any], wires: int) -> Workload:
    """A circuit without parameters, of gates that exist already."""

    def gates(_point: Any) -> None:
        for operation in operations:
            qml.apply(operation)

    return Workload(wires=wires, gates=gates)
