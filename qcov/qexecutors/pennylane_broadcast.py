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


class Broadcast:
    """Merges circuits of one structure, after it has seen that this gives the same.

    Of the first circuits the one that differs most from the first runs by itself too: its result
    says which types and shapes the others shall have, and if the merged one differs from it nothing
    is ever merged. Circuits that are all equal show nothing: the next ones are looked at again.
    """

    def __init__(self) -> None:
        self._forms: list[Any] | None = None
        self._works = True

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
        for start in range(0, len(circuits), size):
            part = self._run_chunk(structure, matrix[start : start + size], execute)
            if part is None:
                return None
            results += part
        return results

    def _run_chunk(
        self, structure: Structure, matrix: np.ndarray, execute: Callable[[Any], Any]
    ) -> list[Any] | None:
        constant = (matrix == matrix[0]).all(axis=0)
        constant[0] = constant[0] and not constant.all()  # one at least says how many there are
        values = [
            matrix[0, column] if constant[column] else matrix[:, column].copy()
            for column in range(matrix.shape[1])
        ]
        merged = _as_list(execute(with_parameters(structure, values)), structure)
        forms = self._forms
        if forms is None:
            differing = (matrix != matrix[0]).sum(axis=1)
            row = int(differing.argmax())
            single = _as_list(execute(with_parameters(structure, matrix[row])), structure)
            self._works = _agree(single, merged, row, len(matrix))
            if not self._works:
                return None
            forms = [_form(value) for value in single]
            self._forms = forms if differing[row] else None
        columns = [
            [form(value) for value in values] for form, values in zip(forms, merged, strict=True)
        ]
        if len(columns) == 1:
            return columns[0]
        return list(zip(*columns, strict=True))


def _as_list(result: Any, structure: Structure) -> list[Any]:
    """The values of all measurements."""
    return [result] if len(structure.measurements) == 1 else list(result)


def _agree(single: Sequence[Any], merged: Sequence[Any], row: int, count: int) -> bool:
    return len(single) == len(merged) and all(
        np.shape(many) == (count, *np.shape(one))
        and np.asarray(many).dtype == np.asarray(one).dtype
        and np.allclose(many[row], one, rtol=0, atol=_TOLERANCE)
        for one, many in zip(single, merged, strict=True)
    )


def _form(value: Any) -> Callable[[Any], Any]:
    """What makes a row of a merged result what the circuit by itself gives."""
    if isinstance(value, np.ndarray):
        return np.array  # a copy: a row would keep all of them alive
    return type(value)
