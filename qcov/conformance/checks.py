"""What an executor must do: a function for each promise, which raises if it is broken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias, cast

import numpy as np

from qcov import transport
from qcov.conformance.pennylane_circuits import (
    broadcast_script,
    electron_of,
    impossible_electron,
    labelled_script,
    midway_script,
    script_of,
    slope,
    together_script,
)
from qcov.conformance.reference import CASES, Case, ansatz, slope_of, value_of
from qcov.conformance.subject import SHOTS, Failed, Skipped, Subject
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult
from qcov.quantum.futures import gather

Check: TypeAlias = Callable[[Subject], None]

_ANGLES = [float(angle) for angle in np.linspace(0.05, 3.0, 25)]
_TURNED = ansatz(0.9)


def values(subject: Subject) -> None:
    """Each circuit of the table has the reference's value."""
    for case in CASES:
        subject.check_cases([case], subject.run_cases([case]))


def order(subject: Subject) -> None:
    """Results of a large mixed batch come in the order of its circuits."""
    cases = [case for angle in _ANGLES for case in (ansatz(angle), *CASES[4:12:2])]
    subject.check_cases(cases, subject.run_cases(cases))


def circuits_untouched(subject: Subject) -> None:
    """Circuits are as they were, and give the same again."""
    scripts: list[Any] = [script_of(case, subject.shots) for case in CASES[1:6]]
    before = [(repr(one.operations), repr(one.measurements), one.shots) for one in scripts]
    first = subject.run(scripts, 2)
    after = [(repr(one.operations), repr(one.measurements), one.shots) for one in scripts]
    if before != after:
        raise Failed("run_batch changes the circuits that it is given")
    subject.check_cases(CASES[1:6], first)
    subject.check_cases(CASES[1:6], subject.run(scripts, 2))


def several_measurements(subject: Subject) -> None:
    """A circuit with several measurements has a result for each, in their order."""
    cases = (CASES[10], CASES[4], replace(CASES[4], word="IZ"))
    got = _unless_refused(subject, together_script(cases, subject.shots))
    kind: str = type(got).__name__
    if kind not in ("tuple", "list") or len(got) != len(cases):
        raise Failed(f"{kind}, not a tuple with a result for each measurement")
    subject.check_cases(cases, got)


def wire_labels(subject: Subject) -> None:
    """Wires may have names, in any order."""
    labels = ("b", "a")
    scripts = [labelled_script(case, labels, subject.shots) for case in CASES[4:9]]
    subject.check_cases(CASES[4:9], subject.run(scripts, labels))


def mid_circuit_measurements(subject: Subject) -> None:
    """A measurement in the midst of a circuit, and what depends on it, are right or refused."""
    got = _unless_refused(subject, midway_script(0.7, subject.shots))
    subject.check("a wire that is turned over by a measurement", got, np.cos(0.7))


def broadcasting(subject: Subject) -> None:
    """A circuit for several values of a parameter has a result for each, or is refused."""
    angles = (0.4, 2.1, 1.2)
    got = _unless_refused(subject, broadcast_script(angles, subject.shots))
    subject.check("several angles", got, [value_of(ansatz(angle)) for angle in angles])


def _unless_refused(subject: Subject, script: Any) -> Any:
    try:
        (got,) = subject.run([script], 2)
    except Failed:
        raise
    except Exception as error:
        raise Skipped(f"it refuses them: {error}") from error
    if isinstance(got, BaseException):
        raise Skipped(f"it refuses them: {got}")
    return got


def shots(subject: Subject) -> None:
    """Counts and samples have as many shots as asked for, and the right frequencies."""
    if subject.executor.shots is None:
        raise Skipped("its shots=None makes all circuits analytic")
    total = subject.executor.shots or SHOTS
    for kind in ("counts", "sample"):
        case = Case(kind, 2, CASES[4].gates, kind=kind)
        (got,) = subject.run([script_of(case, total)], 2)
        _check_frequencies(case, _outcomes(kind, got, total), total)


def _outcomes(kind: str, got: Any, total: int) -> Counter[str]:
    if isinstance(got, BaseException):
        raise Failed(f"{kind}: {type(got).__name__}: {got}") from got
    if kind == "counts":
        if not isinstance(got, Mapping):
            raise Failed(f"counts: {type(got).__name__}, not a dictionary")
        counts = cast("Mapping[Any, Any]", got).items()
        return Counter({str(key): int(count) for key, count in counts if count})
    if np.shape(got) != (total, 2):
        raise Failed(f"sample: the shape is {np.shape(got)}, not {(total, 2)}")
    return Counter("".join(str(int(bit)) for bit in row) for row in got)


def _check_frequencies(case: Case, counted: Counter[str], total: int) -> None:
    if counted.total() != total:
        raise Failed(f"{case.kind}: {counted.total()} shots instead of {total}")
    for number, chance in enumerate(value_of(case)):
        key = format(number, f"0{case.wires}b")
        spread = 6 * (total * chance * (1 - chance)) ** 0.5 + 1
        if abs(counted.pop(key, 0) - total * chance) > spread:
            raise Failed(f"{case.kind}: {key!r} does not come up in {chance:.1%} of the shots")
    if counted:
        raise Failed(f"{case.kind}: {next(iter(counted))!r} is no outcome of {case.wires} wires")


def shot_vectors(subject: Subject) -> None:
    """A circuit with a shot vector has a result for each of its parts."""
    if subject.executor.shots != 0:
        raise Skipped("its own shots take the place of the circuit's")
    case, parts = ansatz(0.9), (SHOTS, SHOTS // 2)
    got = _unless_refused(subject, script_of(case, parts))
    kind: str = type(got).__name__
    if kind not in ("tuple", "list") or len(got) != len(parts):
        raise Failed(f"{kind}, not a tuple with a result for each part")
    for part, value in zip(parts, got, strict=True):
        loose = Subject(executor=subject.executor, shots=part, tolerance=subject.tolerance)
        loose.check(f"the part of {part} shots", value, value_of(case))


def errors(subject: Subject) -> None:
    """A circuit that cannot run fails alone, with an exception that can travel."""
    electron = impossible_electron(subject.executor, subject.shots)
    futures = [electron.run_later(angle) for angle in (0.3, 11.0, 0.6)]
    error = futures[1].exception()
    if error is None:
        raise Failed("a circuit with a gate that does not exist has a value")
    for angle, future in zip((0.3, 0.6), (futures[0], futures[2]), strict=True):
        other = future.exception()
        got = future.result() if other is None else other
        subject.check("a circuit beside one that fails", got, value_of(ansatz(angle)))
    try:
        transport.loads(transport.dumps(error, what="the error"))
    except Exception as problem:
        raise Failed(f"its {type(error).__name__} cannot be pickled: {problem}") from problem


def pickling(subject: Subject) -> None:
    """A pickled copy has the same settings and runs circuits."""
    try:
        copy = transport.loads(transport.dumps(subject.executor, what="the executor"))
    except Exception as error:
        raise Failed(f"it cannot be pickled: {error}") from error
    _check_copy(subject, copy)


def json_round_trip(subject: Subject) -> None:
    """A copy made of its JSON has the same settings and runs circuits."""
    executor = subject.executor
    try:
        copy = BaseQExecutor.from_data(json.loads(executor.model_dump_json()))
    except Exception as error:
        raise Failed(f"it cannot be made of its JSON: {error}") from error
    _check_copy(subject, copy)


def _check_copy(subject: Subject, copy: Any) -> None:
    executor = subject.executor
    if type(copy) is not type(executor) or copy.model_dump() != executor.model_dump():
        raise Failed("the copy has other settings")
    loose = Subject(executor=copy, shots=subject.shots, tolerance=subject.tolerance)
    loose.check_cases(CASES[4:6], loose.run_cases(CASES[4:6]))


def concurrency(subject: Subject) -> None:
    """Calls from many threads at once each get their own value."""
    electron = electron_of(subject.executor, subject.shots)

    def work(first: int) -> list[tuple[float, Any]]:
        angles = _ANGLES[first:] + _ANGLES[:first]
        later = [(angle, electron.run_later(angle)) for angle in angles[:10]]
        at_once = [(angle, electron(angle)) for angle in angles[10:20]]
        return [*at_once, *((angle, future.result()) for angle, future in later)]

    with ThreadPoolExecutor(4) as pool:
        answers = [pair for pairs in pool.map(work, (0, 6, 12, 18)) for pair in pairs]
    for angle, value in answers:
        subject.check(f"angle {angle:g}", value, value_of(ansatz(angle)))


def batches_at_once(subject: Subject) -> None:
    """With `max_jobs` above 1, batches may run in several threads at once."""
    if subject.executor.max_jobs == 1:
        raise Skipped("its max_jobs is 1, so qcov runs one batch at a time")
    cases = [ansatz(angle) for angle in _ANGLES]
    batches = [cases[first:] + cases[:first] for first in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for batch, answer in zip(batches, pool.map(subject.run_cases, batches), strict=True):
            subject.check_cases(batch, answer)


def records(subject: Subject) -> None:
    """What it reports besides values has the right types, and is there to read."""
    script = script_of(CASES[1], subject.shots)
    (outcome,) = subject.executor.run_batch(CircuitBatch(circuits=(script,), wires=1))
    if isinstance(outcome, CircuitResult):
        _check_report(outcome)
    electron = electron_of(subject.executor, subject.shots)
    electron(0.3)
    record = electron.history[-1]
    if record.error is not None or record.execution_time is None:
        raise Failed(f"the record of a circuit that ran is wrong: {record.error}")


def _check_report(outcome: CircuitResult) -> None:
    for name in ("job_id", "backend", "device"):
        value = getattr(outcome, name)
        if not (value is None or isinstance(value, str)):
            raise Failed(f"{name} is {value!r}, not text")
    seconds: Any = outcome.execution_time
    if not (seconds is None or (isinstance(seconds, int | float) and seconds >= 0)):
        raise Failed(f"execution_time is {seconds!r}, not a number of seconds")
    try:
        json.dumps(dict(outcome.metadata))
    except (TypeError, ValueError) as error:
        raise Failed(f"metadata cannot be JSON: {error}") from error


def gradients(subject: Subject) -> None:
    """A derivative through it is right."""
    got = slope(electron_of(subject.executor, subject.shots), 0.9)
    subject.check("the derivative", got, slope_of(_TURNED, 0))


def run_later(subject: Subject) -> None:
    """Futures give the values of their own calls."""
    electron = electron_of(subject.executor, subject.shots)
    futures = [electron.run_later(angle) for angle in _ANGLES]
    for angle, value in zip(_ANGLES, gather(futures), strict=True):
        subject.check(f"angle {angle:g}", value, value_of(ansatz(angle)))


CHECKS: tuple[Check, ...] = (
    values,
    order,
    circuits_untouched,
    several_measurements,
    wire_labels,
    mid_circuit_measurements,
    broadcasting,
    shots,
    shot_vectors,
    errors,
    pickling,
    json_round_trip,
    concurrency,
    batches_at_once,
    records,
    gradients,
    run_later,
)
