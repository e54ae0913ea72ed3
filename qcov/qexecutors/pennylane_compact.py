"""Circuits as their structure and their numbers, and what becomes of many of one structure.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from pennylane.tape import QuantumScript

from qcov.qexecutors.base import Circuit
from qcov.qexecutors.pennylane_structure import Structure, find_structure

#: Numbers that an array of double precision holds as they are.
_EXACT = frozenset({float, np.float64})


class CompactCircuit(QuantumScript):
    """A circuit as its structure and its parameters: its gates are made when somebody looks.

    A gate is a dozen objects. Thousands of circuits that wait, or are remembered, would keep
    Python's garbage collector busy for longer than it takes to run them. Whoever asks one for more
    than is here makes it an ordinary `QuantumScript`, which it stays.
    """

    structure: Structure
    values: tuple[Any, ...]

    @classmethod
    def of(cls, structure: Structure, values: tuple[Any, ...]) -> CompactCircuit:
        """The circuit of a structure whose gates have these parameters, in order."""
        circuit = cls.__new__(cls)
        circuit.structure, circuit.values = structure, values
        return circuit

    @property
    def shots(self) -> Any:
        """Its shots."""
        return self.structure.shots

    @property
    def measurements(self) -> list[Any]:
        """Its measurements."""
        return list(self.structure.measurements)

    @property
    def wires(self) -> Any:
        """Its wires."""
        return self.structure.wires

    def __getattr__(self, name: str) -> Any:
        """Anything else: an ordinary circuit has it."""
        if name.startswith("__") or "structure" not in vars(self):
            raise AttributeError(name)
        return getattr(self._expanded(), name)

    def __reduce__(self) -> Any:
        return _itself, (self._ordinary(),)

    def __repr__(self) -> str:
        return repr(self._ordinary())

    def _ordinary(self) -> QuantumScript:
        return with_parameters(self.structure, self.values)

    def _expanded(self) -> Any:
        # Before the class, which another thread may look at.
        vars(self).update(vars(self._ordinary()))
        self.__class__ = QuantumScript  # type: ignore[assignment]
        return self


def _itself(circuit: Any) -> Any:
    return circuit


def compacted(circuit: Any) -> Any:
    """The circuit as a `CompactCircuit` if it can be one: it is to be run, not differentiated."""
    if type(circuit) is CompactCircuit:
        return circuit
    structure = find_structure(circuit)
    if structure is None or not structure.scalar:
        return circuit
    return CompactCircuit.of(structure, values_of(circuit))


def structure_of(circuit: Circuit) -> Structure | None:
    """The structure of a circuit; None if more than that may decide how it runs."""
    return circuit.structure if type(circuit) is CompactCircuit else find_structure(circuit)


def values_of(circuit: Any) -> tuple[Any, ...]:
    """The parameters of a circuit's gates, in order."""
    if type(circuit) is CompactCircuit:
        return circuit.values
    return tuple([value for operation in circuit.operations for value in operation.data])


class Template:
    """A circuit of one's own that becomes each circuit of a structure in turn.

    What PennyLane works out of a gate once, such as its wires, need not be worked out again for
    the next circuit. It is for one thread, and only until it is filled anew.
    """

    def __init__(self, structure: Structure) -> None:
        self._gates = [copy.copy(gate) for gate in structure.gates]
        counts = zip(structure.slots, structure.counts, strict=True)
        self._slots = [(self._gates[slot], count) for slot, count in counts]
        self._structure: Structure | None = None
        self._circuit: Any = None

    def filled(self, circuit: Any, structure: Structure) -> Any:
        """The circuit that is equal to `circuit`; the structure is its own."""
        values, start = values_of(circuit), 0
        for gate, count in self._slots:
            gate.data = values[start : start + count]
            start += count
        if structure is not self._structure:  # the coefficients of observables differ
            self._circuit = QuantumScript(
                self._gates, structure.measurements, structure.shots, trainable_params=[]
            )
            self._structure = structure
        return self._circuit


def parameter_matrix(circuits: Sequence[Any]) -> np.ndarray | None:
    """The parameters of circuits of one structure, a row for each; None if not all are numbers."""
    rows: list[Sequence[Any]] = []
    for circuit in circuits:
        row: Sequence[Any] = values_of(circuit)
        if not _EXACT.issuperset(map(type, row)):
            row = [_exact(value) for value in row]
            if None in row:
                return None
        rows.append(row)
    return np.array(rows, dtype=float)


def _exact(value: Any) -> float | None:
    """The number that `value` is, if a double holds it as it is; None for anything else."""
    if type(value) in _EXACT:
        return value
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    plain = type(value) is np.ndarray and value.dtype == np.float64 and value.ndim == 0
    return float(value) if plain else None


def with_parameters(structure: Structure, values: Sequence[Any]) -> Any:
    """A circuit of a structure whose gates have these parameters, in order."""
    return QuantumScript(
        structure.filled(values), structure.measurements, structure.shots, trainable_params=[]
    )
