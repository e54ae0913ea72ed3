"""What circuits that run alike have in common, and what tells them apart.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane
from pennylane.measurements import ExpectationMP, ProbabilityMP, StateMP, VarianceMP
from pennylane.tape import QuantumScript

from qcov.qexecutors.base import Circuit

qml: Any = pennylane

_PLAIN_GATES = frozenset(
    {
        qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard, qml.S, qml.T, qml.SX, qml.RX, qml.RY,
        qml.RZ, qml.PhaseShift, qml.Rot, qml.U1, qml.U2, qml.U3, qml.CNOT, qml.CY, qml.CZ, qml.CH,
        qml.SWAP, qml.CRX, qml.CRY, qml.CRZ, qml.ControlledPhaseShift, qml.Toffoli, qml.CSWAP,
        qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.SingleExcitation, qml.DoubleExcitation,
        qml.BasisState,
    }
)  # fmt: skip
_PLAIN_OBSERVABLES = frozenset({qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard})
_COMPOSITES = (qml.ops.Prod, qml.ops.Sum, qml.ops.SProd)
_PLAIN_MEASUREMENTS = frozenset({ExpectationMP, VarianceMP, ProbabilityMP, StateMP})
_MAX_OBSERVABLES = 512
#: Numbers that an array of double precision holds as they are.
_EXACT = frozenset({float, np.float64})


@dataclass(frozen=True, slots=True)
class Structure:
    """All of a circuit but the parameters of its gates."""

    key: Hashable  #: what decides how a device prepares the circuit
    coefficients: tuple[complex, ...]  #: of the observables


class Structures:
    """Finds the structures of circuits that are made of plain gates and observables only."""

    def __init__(self) -> None:
        self._observables: dict[int, tuple[Any, Hashable, tuple[complex, ...]]] = {}

    def of(self, circuit: Circuit) -> Structure | None:
        """The structure of a circuit; None if more than that may decide how it runs."""
        key: list[Hashable] = [circuit.shots]
        for operation in circuit.operations:
            if type(operation) not in _PLAIN_GATES:
                return None
            shapes = tuple([getattr(value, "shape", ()) for value in operation.data])
            key.append((type(operation), _labels(operation), shapes))
        coefficients: tuple[complex, ...] = ()
        for measurement in circuit.measurements:
            if type(measurement) not in _PLAIN_MEASUREMENTS or measurement.mv is not None:
                return None
            observable, its_coefficients = self._observable(measurement.obs)
            if observable is None or measurement._eigvals is not None:
                return None
            key.append((type(measurement), measurement.wires.labels, observable))
            coefficients += its_coefficients
        return Structure(tuple(key), coefficients)

    def _observable(self, observable: Any) -> tuple[Hashable, tuple[complex, ...]]:
        if observable is None:
            return (), ()
        kind = type(observable)
        if kind in _PLAIN_OBSERVABLES:
            return (kind, observable.wires.labels), ()
        if not isinstance(observable, _COMPOSITES):
            return None, ()
        known = self._observables.get(id(observable))
        if known is not None:
            return known[1:]
        parts = observable.operands if hasattr(observable, "operands") else (observable.base,)
        keys = tuple(self._observable(part)[0] for part in parts)
        coefficients = _numbers(observable.data)
        key = None if None in keys or coefficients is None else (kind, keys)
        if len(self._observables) >= _MAX_OBSERVABLES:
            self._observables.clear()
        # The observable is kept, so that the id stays its own.
        self._observables[id(observable)] = (observable, key, coefficients or ())
        return key, coefficients or ()


def _labels(operation: Any) -> Hashable:
    """An operation's wires; a controlled one would put them together anew each time."""
    parts = operation.hyperparameters
    if "control_wires" in parts:
        return parts["control_wires"].labels, parts["base"].wires.labels
    return operation.wires.labels


def _numbers(values: Sequence[Any]) -> tuple[complex, ...] | None:
    try:
        return tuple([complex(value) for value in values])
    except (TypeError, ValueError):
        return None


class Template:
    """A circuit of one's own that becomes each circuit of a structure in turn.

    What PennyLane works out of a gate once, such as its wires, need not be worked out again for
    the next circuit. It is for one thread, and only until it is filled anew.
    """

    def __init__(self, circuit: Any) -> None:
        self.operations = [copy.copy(operation) for operation in circuit.operations]
        self._slots = [
            (index, operation) for index, operation in enumerate(self.operations) if operation.data
        ]
        self._coefficients: tuple[complex, ...] | None = None
        self._circuit: Any = None

    def filled(self, circuit: Any, structure: Structure) -> Any:
        """The circuit that is equal to `circuit`, which has this structure."""
        theirs = circuit.operations
        for index, operation in self._slots:
            operation.data = theirs[index].data
        if structure.coefficients != self._coefficients:
            self._circuit = QuantumScript(
                self.operations, circuit.measurements, circuit.shots, trainable_params=[]
            )
            self._coefficients = structure.coefficients
        return self._circuit


def parameter_matrix(circuits: Sequence[Any]) -> np.ndarray | None:
    """The parameters of circuits of one structure, a row for each; None if not all are numbers."""
    rows: list[list[Any]] = []
    for circuit in circuits:
        row = [value for operation in circuit.operations for value in operation.data]
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


def with_parameters(circuit: Any, values: Sequence[Any]) -> Any:
    """The same circuit with other parameters of its gates, in order."""
    operations: list[Any] = []
    start = 0
    for operation in circuit.operations:
        own = values[start : start + len(operation.data)]
        operations.append(
            qml.ops.functions.bind_new_parameters(operation, own) if own else operation
        )
        start += len(own)
    return QuantumScript(operations, circuit.measurements, circuit.shots, trainable_params=[])
