"""Programs for Qiskit's primitives, before they are fitted to a backend.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qiskit.quantum_info import SparsePauliOp

from qcov.qexecutors.qiskit_circuits import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Pub:
    """A circuit as a primitive takes it, before it is fitted to a backend.

    Args:
        structure: The circuit without its numbers.
        values: The numbers.
        shots: How often it runs.
        observables: For an estimator: terms of Pauli words, the first letter for the last qubit,
            and their coefficients. Empty for a sampler.
    """

    structure: Structure
    values: tuple[float, ...]
    shots: int
    observables: tuple[tuple[tuple[str, float], ...], ...] = ()

    @property
    def key(self) -> str:
        """The same for equal programs in all processes."""
        numbers = [value.hex() for value in self.values]
        told = repr((self.structure, numbers, self.shots, self.observables))
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def sparse(self) -> list[SparsePauliOp]:
        """The observables as Qiskit has them."""
        qubits = self.structure.qubits
        return [SparsePauliOp.from_list(terms, num_qubits=qubits) for terms in self.observables]


@dataclass(slots=True, kw_only=True)
class Piece:
    """One program of a circuit, and how its result is read."""

    pub: Pub
    read: Callable[[Any], Any]
