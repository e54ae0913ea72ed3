"""Results of jobs at IBM Quantum, in the order in which circuits were sent.

Part of the adapter around IBM's SDK: only what starts with `ibm_` imports it.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from qiskit.primitives import PrimitiveResult

from qcov.qexecutors.provider import Program
from qcov.qexecutors.qiskit_fitting import NUMBER, raw_results, sweeps_of


def in_order(result: Any, programs: Sequence[Program]) -> list[Mapping[str, Any]] | None:
    """A raw result for each program; None if one is missing, is there twice, or is another's.

    Args:
        result: Of a job, as it came. Each part says which pub it is of; parts that do not are taken
            to be in order.
        programs: What the job was given.
    """
    if not isinstance(result, PrimitiveResult):  # the SDK gives text as it is
        return None
    results: list[Any] = [*cast("Any", result)]
    numbers = [_number_of(result) for result in results]
    if set(numbers) == set(range(len(results))):
        results = [result for _, result in sorted(zip(numbers, results, strict=True), key=_first)]
    elif any(number is not None for number in numbers):
        return None
    raw = [raw_results([result]) for result in results]
    sent = _rows_sent(programs)
    if sent is not None and [len(rows) for rows in raw] != sent:
        return None
    return [row for rows in raw for row in rows]


def _rows_sent(programs: Sequence[Program]) -> list[int] | None:
    """How many programs each pub of a job had; None if not all of them are known any more."""
    fitted = [program.payload for program in programs]
    if None in fitted:
        return None
    return [len(sweep.pubs) for sweep in sweeps_of(fitted)]


def _number_of(result: Any) -> Any:
    return result.metadata.get("circuit_metadata", {}).get(NUMBER)


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]
