"""What Amazon Braket writes about tasks that are done, read and checked.

Results are JSON in the user's bucket. Only what is there in full and belongs to the programs that
were submitted becomes a result; anything else is an error that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from qcov.errors import CircuitError
from qcov.qexecutors.braket_facts import below


@dataclass(frozen=True, slots=True)
class Bits:
    """What shots gave: a row for each, a column for each measured qubit, in order."""

    array: Any


@dataclass(frozen=True, slots=True)
class Values:
    """What a program without shots was asked for, in order."""

    values: tuple[Any, ...]


def task_result(body: Mapping[str, Any], payload: Any, shots: int, arn: str) -> Bits | Values:
    """What came of a task with one program.

    Args:
        body: `results.json`.
        payload: The `BraketProgram` that was submitted.
        shots: How many shots have succeeded; 0 for a program without shots.
        arn: The task's.

    Raises:
        CircuitError: The results are not complete, or those of something else.
    """
    metadata = below(body, "taskMetadata")
    if metadata.get("id") != arn:
        raise CircuitError(f"the results in its bucket are of {metadata.get('id')}, not of {arn}")
    if not shots:
        return _values(body, payload)
    return _bits(body, payload, shots)


def set_results(
    programs: Sequence[Mapping[str, Any]], payloads: Sequence[Any], shots: int
) -> list[Bits | Exception]:
    """What came of the programs of a program set, in the order of `payloads`.

    Args:
        programs: The results of each program, with its source.
        payloads: The `BraketProgram`s that were submitted.
        shots: How often each was to run.

    Raises:
        CircuitError: The results cannot be told apart.
    """
    if len(programs) != len(payloads):
        raise CircuitError(f"there are results of {len(programs)} programs, not of {len(payloads)}")
    order = _order([_source_of(one) for one in programs], [one.source for one in payloads])
    return [
        _set_result(programs[place], payload, shots)
        for place, payload in zip(order, payloads, strict=True)
    ]


def _set_result(program: Mapping[str, Any], payload: Any, shots: int) -> Bits | Exception:
    results = cast("Sequence[Mapping[str, Any]]", program.get("executableResults") or [])
    if len(results) != 1:
        return CircuitError(f"its program has {len(results)} results, not 1")
    failure = below(results[0], "failureMetadata")
    if failure:
        return CircuitError(f"the provider says: {failure.get('failureReason')}")
    try:
        return _bits(results[0], payload, shots)
    except CircuitError as error:
        return error


def _source_of(program: Mapping[str, Any]) -> str:
    return str(below(program, "source").get("source"))


def _order(found: Sequence[str], asked: Sequence[str]) -> list[int]:
    """For each program that was asked for, where its results are.

    A provider that gives programs back in other words gives them in their order; one that gives
    them back as they were tells by them which results are whose.
    """
    places: dict[str, list[int]] = {}
    for place, source in enumerate(map(_plain, found)):
        places.setdefault(source, []).append(place)
    plain = [_plain(source) for source in asked]
    if not any(source in places for source in plain):
        return list(range(len(asked)))
    try:
        return [places[source].pop(0) for source in plain]
    except (KeyError, IndexError):
        raise CircuitError("the results are not those of its programs") from None


def _plain(source: str) -> str:
    return "".join(source.split())


def _bits(found: Mapping[str, Any], payload: Any, shots: int) -> Bits:
    qubits = cast("Sequence[int]", found.get("measuredQubits") or [])
    missing = [qubit for qubit in payload.measured if qubit not in qubits]
    if missing:
        raise CircuitError(f"there are no results of qubits {missing}, only of {list(qubits)}")
    if found.get("measurements"):
        array = np.asarray(found["measurements"], dtype=np.int8)
    else:
        array = _from_probabilities(found.get("measurementProbabilities") or {}, shots)
    if array.shape != (shots, len(qubits)):
        what = f"{array.shape[0]} shots" if array.ndim == 2 else "no table of shots"
        raise CircuitError(f"its results are not complete: {what} of {shots}")
    return Bits(array[:, [qubits.index(qubit) for qubit in payload.measured]])


def _from_probabilities(probabilities: Mapping[str, float], shots: int) -> Any:
    """Shots with these probabilities, in no order that means anything."""
    words = list(probabilities)
    exact: Any = np.array([probabilities[word] for word in words]) * shots
    counts: Any = np.floor(exact + 1e-9).astype(int)
    left = shots - int(counts.sum())
    if not words or not 0 <= left <= len(words):
        raise CircuitError(f"its probabilities are not those of {shots} shots")
    counts[(counts - exact).argsort()[:left]] += 1
    rows: Any = np.array([[int(bit) for bit in word] for word in words], dtype=np.int8)
    random: Any = np.random.default_rng()
    return random.permutation(rows.repeat(counts, axis=0))


def _values(body: Mapping[str, Any], payload: Any) -> Values:
    results = cast("Sequence[Mapping[str, Any]]", body.get("resultTypes") or [])
    kinds = [str(one["type"]["type"]).replace("_", "") for one in results]
    asked = [kind.replace("_", "") for kind in payload.asked]
    if kinds != asked:
        raise CircuitError(f"its results are {kinds}, where {asked} were asked for")
    read = zip(asked, results, strict=True)
    return Values(tuple(_READERS.get(kind, np.asarray)(one["value"]) for kind, one in read))


def _complex_array(value: Any) -> Any:
    """Complex numbers, each a pair in JSON."""
    pairs = np.asarray(value, dtype=float)
    return pairs[..., 0] + 1j * pairs[..., 1]


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "expectation": float,
    "variance": float,
    "statevector": _complex_array,
    "densitymatrix": _complex_array,
}
