"""Batches of circuits as they travel to other processes.

A pickled circuit is two kilobytes. Of circuits that differ in their parameters only, one is sent
and a row of numbers for each; results go back as columns of numbers where they are alike.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from pennylane.tape import QuantumScript

from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.pennylane_compact import CompactCircuit, parameter_matrix, structure_of
from qcov.qexecutors.pennylane_structure import Structure


@dataclass(frozen=True, slots=True)
class _Series:
    """Circuits of one structure."""

    template: Any
    indices: Any  #: where they stand in the batch
    parameters: Any  #: a row for each


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A `CircuitBatch` on its way."""

    rest: CircuitBatch  #: circuits that share nothing, and how all of them run
    indices: tuple[int, ...]  #: where those stand
    series: tuple[_Series, ...]


def pack(batch: CircuitBatch) -> PackedBatch:
    """Put circuits that differ in their parameters only into series."""
    groups: dict[Structure, list[int]] = {}
    rest: list[int] = []
    for index, circuit in enumerate(batch.circuits):
        structure = structure_of(circuit)
        (rest if structure is None else groups.setdefault(structure, [])).append(index)
    series: list[_Series] = []
    for structure, indices in groups.items():
        circuits = [batch.circuits[index] for index in indices]
        matrix = parameter_matrix(circuits) if len(circuits) > 1 else None
        if matrix is None:
            rest += indices
        else:
            where = np.array(indices, dtype=np.uint32)
            series.append(_Series(_template(structure), where, matrix))
    rest.sort()
    return PackedBatch(batch.only(rest), tuple(rest), tuple(series))


def unpack(packed: PackedBatch) -> CircuitBatch:
    """The batch that was packed."""
    size = len(packed.indices) + sum(len(series.indices) for series in packed.series)
    circuits: list[Any] = [None] * size
    for index, circuit in zip(packed.indices, packed.rest.circuits, strict=True):
        circuits[index] = circuit
    for series in packed.series:
        structure = cast("Structure", structure_of(series.template))
        rows = series.parameters.tolist()
        for index, row in zip(series.indices.tolist(), rows, strict=True):
            circuits[index] = CompactCircuit.of(structure, tuple(row))
    return replace(packed.rest, circuits=tuple(circuits))


def _template(structure: Structure) -> Any:
    """A circuit that tells a structure."""
    return QuantumScript(
        structure.gates, structure.measurements, structure.shots, trainable_params=[]
    )
