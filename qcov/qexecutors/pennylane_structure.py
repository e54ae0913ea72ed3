"""What circuits that run alike have in common, and what tells them apart.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import copy
import weakref
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import is_
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import pennylane
from pennylane.measurements import ExpectationMP, ProbabilityMP, StateMP, VarianceMP
from pennylane.operation import _UNSET_BATCH_SIZE

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
#: Gates that are told by their type, wires and parameters.
PLAIN_GATES = _UNCONTROLLED | _CONTROLLED
_PLAIN_OBSERVABLES = frozenset({qml.Identity, qml.X, qml.Y, qml.Z, qml.Hadamard})
_COMPOSITES = (qml.ops.Prod, qml.ops.Sum, qml.ops.SProd)
_PLAIN_MEASUREMENTS = frozenset({ExpectationMP, VarianceMP, ProbabilityMP, StateMP})
_COEFFICIENTS = frozenset({int, float, complex, np.int64, np.float64, np.complex128})


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


@dataclass(frozen=True, slots=True)
class _Observed:
    """What was found out about an observable."""

    reference: weakref.ref[Any]
    key: Hashable
    coefficients: tuple[complex, ...]
    inner: tuple[Any, ...]  #: of its parts those that have a coefficient
    scalars: tuple[Any, ...]  #: its own and theirs, as they were given

    def holds_for(self, observable: Any) -> bool:
        """Whether it still is what was looked at: people give observables new coefficients."""
        if self.reference() is not observable:
            return False
        return all(map(is_, _scalars(observable, self.inner), self.scalars))


_Key: TypeAlias = tuple[Hashable, tuple[complex, ...]]


class _Structures:
    """Finds the structures of circuits that are made of plain gates and observables only."""

    def __init__(self) -> None:
        # Neither keeps anything alive: an observable may have thousands of terms, and be new in
        # every circuit.
        self._known: WeakValueDictionary[_Key, Structure] = WeakValueDictionary()
        self._observables: dict[int, _Observed] = {}

    def of(self, circuit: Circuit) -> Structure | None:
        """The structure of a circuit; None if more than that may decide how it runs."""
        key = self.key_of(circuit)
        if key is None:
            return None
        known = self._known.get(key)
        return self._known.setdefault(key, _new_structure(key, circuit)) if known is None else known

    def key_of(self, circuit: Circuit) -> _Key | None:
        """What tells circuits of one structure from all others."""
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
                    if len(shape) > 1 and kind is not qml.BasisState:
                        return None  # which PennyLane refuses when the gate is looked at
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
        if known is not None and known.holds_for(observable):
            return known.key, known.coefficients
        parts = observable.operands if hasattr(observable, "operands") else (observable.base,)
        keys = tuple(self._observable(part)[0] for part in parts)
        coefficients = _numbers(observable.data)
        known = None not in keys and coefficients is not None
        # Of what type a coefficient is decides of what type results are.
        key = (kind, keys, tuple(map(type, observable.data))) if known else None
        self._remember(observable, key, coefficients or ())
        return key, coefficients or ()

    def _remember(self, observable: Any, key: Hashable, coefficients: tuple[complex, ...]) -> None:
        forget = partial(self._observables.pop, id(observable), None)
        reference = weakref.ref(observable, lambda _: forget())
        inner = tuple(_with_coefficients(observable))
        scalars = tuple(_scalars(observable, inner))
        observed = _Observed(reference, key, coefficients, inner, scalars)
        self._observables[id(observable)] = observed


def _new_structure(key: _Key, circuit: Any) -> Structure:
    gates = [copy.copy(gate) for gate in circuit.operations]
    slots = tuple([index for index, gate in enumerate(gates) if gate.data])
    shapes = [getattr(value, "shape", ()) for gate in gates for value in gate.data]
    counts = tuple([len(gates[slot].data) for slot in slots])
    for slot in slots:  # the circuit's own may belong to a derivative that is being taken
        gates[slot].data = tuple([np.zeros(getattr(v, "shape", ())) for v in gates[slot].data])
        _forget_batch_size(gates[slot])
    return Structure(
        key=key[0],
        coefficients=key[1],
        gates=tuple(gates),
        slots=slots,
        counts=counts,
        # Copies of what is measured: somebody may give the circuit's own other coefficients.
        measurements=tuple([copy.copy(one) if key[1] else one for one in circuit.measurements]),
        shots=circuit.shots,
        wires=circuit.wires,
        scalar=all(shape == () for shape in shapes),
    )


def _forget_batch_size(gate: Any) -> None:
    """Let a gate find out anew for how many circuits it stands: it may get other parameters.

    PennyLane looks once and remembers, in copies too. With arrays for parameters such a gate turns
    all states by the angle of the first.
    """
    gate = gate.hyperparameters["base"] if type(gate) in _CONTROLLED else gate
    gate._batch_size = _UNSET_BATCH_SIZE


def _with_coefficients(observable: Any) -> Iterator[Any]:
    """The parts of a composite observable that have a coefficient, at any depth."""
    for part in observable.operands if hasattr(observable, "operands") else (observable.base,):
        if isinstance(part, qml.ops.SProd):
            yield part
        if isinstance(part, _COMPOSITES):
            yield from _with_coefficients(part)


def _scalars(observable: Any, inner: Sequence[Any]) -> list[Any]:
    own = [observable.scalar] if isinstance(observable, qml.ops.SProd) else []
    return own + [part.scalar for part in inner]


def _numbers(values: Sequence[Any]) -> tuple[complex, ...] | None:
    if not _COEFFICIENTS.issuperset(map(type, values)):
        return None
    return tuple([complex(value) for value in values])


_structures = _Structures()


def find_structure(circuit: Circuit) -> Structure | None:
    """The structure of a circuit; None if more than that may decide how it runs."""
    return _structures.of(circuit)


def structure_key(circuit: Circuit) -> Hashable | None:
    """What decides how a device prepares a circuit; None if more than its structure does."""
    key = _structures.key_of(circuit)
    return None if key is None else key[0]
