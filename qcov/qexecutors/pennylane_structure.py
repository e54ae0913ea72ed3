"""What circuits that run alike have in common, and what tells them apart.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pennylane
from pennylane.measurements import ExpectationMP, ProbabilityMP, StateMP, VarianceMP
from pennylane.tape import QuantumScript

from qcov.qexecutors.base import Circuit

qml: Any = pennylane

_UNCONTROLLED = frozenset(
    {
        qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard, qml.S, qml.T, qml.SX, qml.RX, qml.RY,
        qml.RZ, qml.PhaseShift, qml.Rot, qml.U1, qml.U2, qml.U3, qml.SWAP, qml.IsingXX, qml.IsingYY,
        qml.IsingZZ, qml.SingleExcitation, qml.DoubleExcitation, qml.BasisState,
    }
)  # fmt: skip
_CONTROLLED = frozenset(
    {
        qml.CNOT, qml.CY, qml.CZ, qml.CH, qml.CRX, qml.CRY, qml.CRZ, qml.ControlledPhaseShift,
        qml.Toffoli, qml.CSWAP,
    }
)  # fmt: skip
_PLAIN_OBSERVABLES = frozenset({qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard})
_COMPOSITES = (qml.ops.Prod, qml.ops.Sum, qml.ops.SProd)
_PLAIN_MEASUREMENTS = frozenset({ExpectationMP, VarianceMP, ProbabilityMP, StateMP})
_MAX_OBSERVABLES = 512
_MAX_STRUCTURES = 512
#: Numbers that an array of double precision holds as they are.
_EXACT = frozenset({float, np.float64})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Structure:
    """All of a circuit but the parameters of its gates: one object for all circuits that share it.

    Its gates and measurements belong to everybody who has such a circuit, so nobody may change
    them; the numbers in its gates mean nothing.
    """

    key: Hashable  #: what decides how a device prepares the circuit
    coefficients: tuple[complex, ...]  #: of the observables
    gates: tuple[Any, ...]
    slots: tuple[int, ...]  #: which of the gates have parameters
    counts: tuple[int, ...]  #: how many each of those has
    measurements: tuple[Any, ...]
    shots: Any
    wires: Any
    scalar: bool  #: whether every parameter is one number

    def filled(self, values: Sequence[Any]) -> list[Any]:
        """Its gates with parameters, in order."""
        gates, start = list(self.gates), 0
        for slot, count in zip(self.slots, self.counts, strict=True):
            gates[slot] = copy.copy(gates[slot])
            gates[slot].data = tuple(values[start : start + count])
            start += count
        return gates


_Key: TypeAlias = tuple[Hashable, tuple[complex, ...]]


class _Structures:
    """Finds the structures of circuits that are made of plain gates and observables only."""

    def __init__(self) -> None:
        self._known: dict[_Key, Structure] = {}
        self._observables: dict[int, tuple[Any, Hashable, tuple[complex, ...]]] = {}

    def of(self, circuit: Circuit) -> Structure | None:
        """The structure of a circuit; None if more than that may decide how it runs."""
        key = self._key(circuit)
        if key is None:
            return None
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MAX_STRUCTURES:
                self._known.clear()
            known = self._known.setdefault(key, _new_structure(key, circuit))
        return known

    def _key(self, circuit: Circuit) -> _Key | None:
        key: list[Hashable] = [circuit.shots]
        for operation in circuit.operations:
            kind = type(operation)
            if kind in _UNCONTROLLED:
                labels: Hashable = operation.wires.labels
            elif kind in _CONTROLLED:  # which would put its wires together anew each time
                parts = operation.hyperparameters
                labels = parts["control_wires"].labels, parts["base"].wires.labels
            else:
                return None
            key += (kind, labels)
            for place, value in enumerate(operation.data):
                if shape := getattr(value, "shape", ()):
                    key.append((place, shape))
        coefficients: tuple[complex, ...] = ()
        for measurement in circuit.measurements:
            if type(measurement) not in _PLAIN_MEASUREMENTS or measurement.mv is not None:
                return None
            observable, its_coefficients = self._observable(measurement.obs)
            if observable is None or measurement._eigvals is not None:
                return None
            key.append((type(measurement), measurement.wires.labels, observable))
            coefficients += its_coefficients
        return tuple(key), coefficients

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


def _new_structure(key: _Key, circuit: Any) -> Structure:
    gates = [copy.copy(gate) for gate in circuit.operations]
    slots = tuple([index for index, gate in enumerate(gates) if gate.data])
    shapes = [getattr(value, "shape", ()) for gate in gates for value in gate.data]
    counts = tuple([len(gates[slot].data) for slot in slots])
    for slot in slots:  # the circuit's own may belong to a derivative that is being taken
        gates[slot].data = tuple([np.zeros(getattr(v, "shape", ())) for v in gates[slot].data])
    return Structure(
        key=key[0],
        coefficients=key[1],
        gates=tuple(gates),
        slots=slots,
        counts=counts,
        measurements=tuple(circuit.measurements),
        shots=circuit.shots,
        wires=circuit.wires,
        scalar=all(shape == () for shape in shapes),
    )


def _numbers(values: Sequence[Any]) -> tuple[complex, ...] | None:
    try:
        return tuple([complex(value) for value in values])
    except (TypeError, ValueError):
        return None


_structures = _Structures()


def structure_of(circuit: Circuit) -> Structure | None:
    """The structure of a circuit; None if more than that may decide how it runs."""
    if type(circuit) is CompactCircuit:
        return circuit.structure
    return _structures.of(circuit)


# -- circuits as their structure and their numbers ---------------------------------------------


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

    def __reduce__(self) -> tuple[Any, ...]:
        return self._expanded().__reduce_ex__(2)

    def __repr__(self) -> str:
        return repr(self._expanded())

    def _expanded(self) -> Any:
        plain = QuantumScript(
            self.structure.filled(self.values),
            self.structure.measurements,
            self.structure.shots,
            trainable_params=[],
        )
        vars(self).update(vars(plain))  # before the class, which another thread may look at
        self.__class__ = QuantumScript
        return self


def compacted(circuit: Any) -> Any:
    """The circuit as a `CompactCircuit` if it can be one: it is to be run, not differentiated."""
    if type(circuit) is CompactCircuit:
        return circuit
    structure = _structures.of(circuit)
    if structure is None or not structure.scalar:
        return circuit
    return CompactCircuit.of(structure, values_of(circuit))


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
