"""Circuits that differ in their parameters only, run as one broadcast circuit.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qcov.qexecutors.pennylane_compact import parameter_matrix, with_parameters
from qcov.qexecutors.pennylane_structure import Structure

#: Up to here one array operation on all states costs less than one for each of them.
MERGED_UNTIL = 12  # wires
#: A chunk's states stay in the processor's cache.
_CHUNK = 2**16  # amplitudes
_TOLERANCE = 1e-10
_TURNS = 0.5, 2.5  #: by which angles are made other ones, from the first to the last


class Broadcast:
    """Merges circuits of one structure, after it has seen that this gives the same.

    Whenever a parameter differs that never did before, one circuit more is merged with the first
    ones, and runs by itself too: one that differs from the first in every parameter in which any
    does. Its result says which types and shapes those of the others shall have, and if the merged
    one is another nothing is merged any more.
    """

    def __init__(self) -> None:
        self._forms: list[Any] = []
        self._works = True
        self._looked_at: Any = False  #: for each parameter whether it has differed

    @staticmethod
    def pays(structure: Structure) -> bool:
        """Whether circuits of a structure gain from being merged."""
        return structure.scalar and len(structure.wires) <= MERGED_UNTIL

    def run(
        self, structure: Structure, circuits: Sequence[Any], execute: Callable[[Any], Any]
    ) -> list[Any] | None:
        """The results of `circuits`, all of one structure; None if they cannot be merged."""
        matrix = parameter_matrix(circuits) if self._works and len(circuits) > 1 else None
        if matrix is None or matrix.shape[1] == 0:
            return None
        results: list[Any] = []
        size = max(2, _CHUNK >> len(structure.wires))
        differing = self._differing(matrix)
        if (differing > self._looked_at).any():
            first = self._first(structure, matrix[:size], differing, execute)
            if first is None:
                return None
            results += self._split(first)
        for start in range(len(results), len(circuits), size):
            chunk = matrix[start : start + size]
            results += self._split(_merged(structure, chunk, self._differing(chunk), execute))
        return results

    def _differing(self, matrix: np.ndarray) -> np.ndarray:
        """Which parameters differ; one at least, which says how many circuits there are."""
        differing = (matrix != matrix[0]).any(axis=0)
        if not differing.any():
            differing[np.argmax(self._looked_at)] = True  # one that has differed, if any has
        return differing

    def _first(
        self,
        structure: Structure,
        matrix: np.ndarray,
        differing: np.ndarray,
        execute: Callable[[Any], Any],
    ) -> list[Any] | None:
        """What the first circuits give together; None if that is not what each of them gives."""
        turns = np.linspace(*_TURNS, len(differing))
        row = matrix[0] + np.where(differing, turns, 0)
        rows = np.vstack([matrix, row])
        merged = _merged(structure, rows, differing, execute)
        single = _as_list(execute(with_parameters(structure, row)), structure)
        self._works = _agree(single, merged, len(rows))
        if not self._works:
            return None
        self._forms = [_form(value) for value in single]
        self._looked_at = differing | self._looked_at
        return [values[:-1] for values in merged]

    def _split(self, merged: Sequence[Any]) -> list[Any]:
        """The results of all circuits, of what they give together."""
        columns = [
            [form(value) for value in values]
            for form, values in zip(self._forms, merged, strict=True)
        ]
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _merged(
    structure: Structure,
    matrix: np.ndarray,
    differing: np.ndarray,
    execute: Callable[[Any], Any],
) -> list[Any]:
    """What circuits give together, for each measurement a row for each of them."""
    values = [
        matrix[:, column].copy() if differs else matrix[0, column]
        for column, differs in enumerate(differing)
    ]
    return _as_list(execute(with_parameters(structure, values)), structure)


def _as_list(result: Any, structure: Structure) -> list[Any]:
    """The values of all measurements."""
    return [result] if len(structure.measurements) == 1 else list(result)


def _agree(single: Sequence[Any], merged: Sequence[Any], count: int) -> bool:
    """Whether a circuit gives what it gives as the last one of so many."""
    return len(single) == len(merged) and all(
        np.shape(many) == (count, *np.shape(one))
        and np.asarray(many).dtype == np.asarray(one).dtype
        and np.allclose(many[-1], one, rtol=0, atol=_TOLERANCE)
        for one, many in zip(single, merged, strict=True)
    )


def _form(value: Any) -> Callable[[Any], Any]:
    """What makes a row of a merged result what the circuit by itself gives."""
    if isinstance(value, np.ndarray):
        return np.array  # a copy: a row would keep all of them alive
    return type(value)
