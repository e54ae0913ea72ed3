"""Circuits that run as one: on a device that does not turn each by its own angles they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov.qexecutors.pennylane_adapter import make_device
from qcov.qexecutors.pennylane_broadcast import Broadcast
from qcov.qexecutors.pennylane_compact import structure_of

Angles = tuple[float, float, float]

#: As parameter shift has them: no two differ in all angles.
SHIFTED: list[Angles] = [(0.9, 0.2, 0.3), (0.1, 0.8, 0.3), (0.1, 0.2, 0.7)]
#: All but the last angle differ.
FIRST_TWO: list[Angles] = [(0.1, 0.2, 0.3), (0.5, 0.6, 0.3), (0.8, 0.9, 0.3)]
ONLY_LAST: list[Angles] = [(0.1, 0.2, 0.3), (0.1, 0.2, 0.9)]
EQUAL: list[Angles] = [(0.1, 0.2, 0.3)] * 3


def circuit(angles: Angles, wires: int) -> Any:
    first, second, third = angles
    gates = [qml.RX(first, 0), qml.RY(second, 1), qml.CNOT([0, 1]), qml.RX(third, 0)]
    measured = [qml.expval(qml.Z(0) @ qml.Y(1)), qml.probs(range(wires))]
    return qml.tape.QuantumScript(gates, measured)


class Device:
    """A simulator, and what it ran.

    Args:
        wires: How many it has.
        wrong: A gate by whose first angle it turns all circuits that are merged.
    """

    def __init__(self, wires: int, *, wrong: int | None = None) -> None:
        self._device: Any = make_device("default.qubit", wires, {})
        self._wrong = wrong
        self.runs = 0
        self.arrays: set[int] = set()  #: gates that had an angle for each circuit

    def __call__(self, merged: Any) -> Any:
        self.runs += 1
        gates = list(merged.operations)
        arrays = {number for number, gate in enumerate(gates) if np.ndim((*gate.data, 0)[0])}
        self.arrays |= arrays
        for number in arrays & {self._wrong}:
            gate = gates[number]
            (angles,) = gate.data
            gates[number] = type(gate)(np.full_like(angles, angles[0]), gate.wires)
        return self._device.execute((qml.tape.QuantumScript(gates, merged.measurements),))[0]


def run(
    broadcast: Broadcast, batch: Sequence[Angles], execute: Callable[[Any], Any], wires: int = 3
) -> list[Any] | None:
    circuits = [circuit(angles, wires) for angles in batch]
    structure = structure_of(circuits[0])
    assert structure is not None
    return broadcast.run(structure, circuits, execute)


BATCHES: dict[str, tuple[int, list[list[Angles]]]] = {
    "a shift of each": (3, [SHIFTED]),
    "in a later batch": (3, [FIRST_TWO, ONLY_LAST]),
    "after equal ones": (3, [EQUAL, ONLY_LAST]),
    "in a later chunk": (12, [FIRST_TWO * 6 + ONLY_LAST]),
}


@pytest.mark.parametrize(("wires", "batches"), BATCHES.values(), ids=BATCHES)
def test_each_angle_is_looked_at(wires: int, batches: list[list[Angles]]) -> None:
    broadcast, wrong = Broadcast(), Device(wires, wrong=3)

    found = [run(broadcast, batch, wrong, wires) for batch in batches]

    assert found[-1] is None
    assert None not in found[:-1]
    runs = wrong.runs
    assert run(broadcast, batches[0], wrong, wires) is None
    assert wrong.runs == runs  # it is not tried again


@pytest.mark.parametrize(("wires", "batches"), BATCHES.values(), ids=BATCHES)
def test_all_have_their_own_results(wires: int, batches: list[list[Angles]]) -> None:
    broadcast, device = Broadcast(), Device(wires)
    for batch in batches:
        found = run(broadcast, batch, device, wires)
        assert found is not None
        for mine, angles in zip(found, batch, strict=True):
            theirs = device(circuit(angles, wires))
            for one, other in zip(mine, theirs, strict=True):
                assert type(one) is type(other)
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_what_was_looked_at_is_not_looked_at_again() -> None:
    broadcast, device = Broadcast(), Device(3)

    assert run(broadcast, SHIFTED, device) is not None
    assert device.runs == 2
    for batch in (SHIFTED, ONLY_LAST, FIRST_TWO, EQUAL):
        device.runs = 0
        assert run(broadcast, batch, device) is not None
        assert device.runs == 1


def test_equal_circuits_among_others_are_merged_by_an_angle_that_was_looked_at() -> None:
    broadcast, device = Broadcast(), Device(12)

    assert run(broadcast, ONLY_LAST * 8 + EQUAL, device, 12) is not None
    assert run(broadcast, EQUAL, device, 12) is not None

    assert device.runs == 4  # two chunks, and one circuit by itself
    assert device.arrays == {3}
