"""Circuits of one structure on `lightning.qubit`, without its Python between one gate and the next.

Lightning looks at every gate anew in every circuit: what kind it is, which wires it has, which of
its routines applies it. For a few qubits that takes several times as long as the gates do. Here it
is worked out once for a structure; a circuit is then a call of a routine for each gate.

Once a circuit has run in Lightning's own way, both ways are tried with angles of its structure's
own, and only if states and results agree do the next circuits run this way.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane
from pennylane.tape import QuantumScript

from qcov.qexecutors.pennylane_compact import Template, values_of, with_parameters
from qcov.qexecutors.pennylane_structure import Structure

qml: Any = pennylane

#: From here on the gates themselves take so long that nothing else matters.
_MAX_WIRES = 14
_TOLERANCE = 1e-10


class LightningProgram:
    """Runs circuits of one structure on one device, after it has seen that this gives the same."""

    def __init__(self, device: Any, structure: Structure, template: Template) -> None:
        self._device, self._template = device, template
        self._steps = _steps(structure)
        self._coefficients = structure.coefficients
        # Preparing the state and measuring it stay Lightning's business.
        self._whole = with_parameters(structure, (0.0,) * sum(structure.counts))
        self._measuring = _without_gates(structure)
        self._structure = structure
        self._works: bool | None = None  #: not known before the first circuit has run

    @staticmethod
    def pays(device: Any, structure: Structure) -> bool:
        """Whether circuits like this one gain from it, and whether it knows how to run them."""
        if not structure.scalar or len(device.wires or structure.wires) > _MAX_WIRES:
            return False
        if device.wires is not None:
            return set(device.wires.labels) == set(range(len(device.wires)))
        # Such a device numbers the wires of gates first, then those that are only measured.
        circuit = with_parameters(structure, [0.0] * sum(structure.counts))
        return circuit.map_to_standard_wires() is circuit

    def run(
        self, structure: Structure, circuits: Sequence[Any], execute: Callable[[Any], Any]
    ) -> list[Any] | None:
        """The results of circuits that differ in their parameters; None if it cannot be trusted.

        Args:
            structure: Theirs; its coefficients may be others than those of earlier ones.
            circuits: All of one structure.
            execute: What runs one of them in Lightning's own way.
        """
        if self._works is False:
            return None
        rows, results = [list(values_of(circuit)) for circuit in circuits], list[Any]()
        if structure.coefficients != self._coefficients:
            self._measuring, self._coefficients = _without_gates(structure), structure.coefficients
        if self._works is None:
            results.append(execute(self._template.filled(circuits[0], structure)))
            self._works = self._agrees(structure)
            if not self._works:
                return None
        return results + [self._run(row) for row in rows[len(results) :]]

    def _agrees(self, structure: Structure) -> bool:
        """Whether it gives what Lightning gives, for angles that are all different."""
        row = [0.1 + 0.37 * place for place in range(sum(self._structure.counts))]
        try:
            state = self._device._statevector
            state.reset_state()
            state.apply_operations(self._structure.filled(row))
            expected = state.state
            state.reset_state()
            self._apply(state.state_vector, row)
            if not np.allclose(state.state, expected, rtol=0, atol=_TOLERANCE):
                return False
            random = self._device._rng.bit_generator
            drawn = random.state  # measuring draws a number, which is some later circuit's
            try:
                circuit = self._device.dynamic_wires_from_circuit(with_parameters(structure, row))
                theirs = self._device.simulate(circuit, self._device._statevector)
                return _alike(self._run(row), theirs)
            finally:
                random.state = drawn
        except (AttributeError, TypeError, ValueError, RuntimeError):  # its internals have moved
            return False

    def _run(self, row: Sequence[Any]) -> Any:
        device = self._device
        device.dynamic_wires_from_circuit(self._whole)
        state = device._statevector
        self._apply(state.state_vector, row)
        device._intermediate_states = None  # as in every run that is not for a derivative
        return device.simulate(self._measuring, state)

    def _apply(self, state: Any, row: Sequence[Any]) -> None:
        for name, wires, start, stop in self._steps:
            getattr(state, name)(wires, False, row[start:stop])


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, tuple):
        return all(map(_alike, ours, theirs))
    same = np.shape(ours) == np.shape(theirs)
    return same and np.allclose(ours, theirs, rtol=0, atol=_TOLERANCE)


def _without_gates(structure: Structure) -> QuantumScript:
    return QuantumScript([], structure.measurements, structure.shots, trainable_params=[])


def _steps(structure: Structure) -> list[tuple[str, list[int], int, int]]:
    """The routine of each gate, its wires, and where its parameters stand."""
    steps: list[tuple[str, list[int], int, int]] = []
    start = 0
    for gate in structure.gates:
        stop = start + len(gate.data)
        if not isinstance(gate, qml.Identity):
            steps.append((gate.name, gate.wires.tolist(), start, stop))
        start = stop
    return steps
