"""What Braket says of devices and tasks, read without a network."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest

from qcov.errors import CircuitError
from qcov.qexecutors.braket_facts import DeviceFacts
from qcov.qexecutors.braket_programs import BraketProgram
from qcov.qexecutors.braket_results import set_results, task_result
from qcov.qexecutors.provider import Limits, Program
from qcov.qexecutors.splitting import parts

MONDAY = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def facts(**answer: Any) -> DeviceFacts:
    """A device with these capabilities, by section, and this answer otherwise."""
    said = {name: answer.pop(name) for name in ("service", "action", "paradigm") if name in answer}
    known = {"deviceArn": "arn:x", "deviceStatus": "ONLINE", "deviceType": "QPU"}
    return DeviceFacts.from_answer({**known, "deviceCapabilities": json.dumps(said), **answer})


# -- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "start", "end", "moment", "runs"),
    [
        ("Everyday", "00:00", "23:59:59", MONDAY, True),
        ("Weekdays", "09:00:00", "17:00:00", MONDAY.replace(hour=9), True),
        ("Weekdays", "09:00:00", "17:00:00", MONDAY.replace(hour=18), False),
        ("Weekdays", "09:00:00", "17:00:00", MONDAY - dt.timedelta(hours=12), False),
        ("Weekend", "09:00:00", "17:00:00", MONDAY - dt.timedelta(hours=12), True),
        ("Monday", "22:00:00", "04:00:00", MONDAY.replace(hour=23), True),
        ("Monday", "22:00:00", "04:00:00", MONDAY + dt.timedelta(hours=27), True),
        ("Monday", "22:00:00", "04:00:00", MONDAY.replace(hour=3), False),
    ],
)
def test_devices_run_within_their_hours(
    day: str, start: str, end: str, moment: dt.datetime, runs: bool
) -> None:
    window = {"executionDay": day, "windowStartHour": start, "windowEndHour": end}
    device = facts(service={"executionWindows": [window]})
    assert device.runs_at(moment) is runs
    offline = facts(service={"executionWindows": [window]}, deviceStatus="OFFLINE")
    assert offline.runs_at(moment) is False


def test_a_device_may_say_next_to_nothing() -> None:
    device = facts()
    assert not device.runs_circuits
    assert device.runs_at(MONDAY)
    assert (device.qubits, device.most_shots, device.set_programs, device.queue) == (None,) * 4
    assert (device.least_shots, device.shot_price, device.minute_price) == (0, None, None)


@pytest.mark.parametrize(
    ("sizes", "waiting"), [(["7", "2"], 9), ([">4000"], 4000), ([], None), (["many"], None)]
)
def test_queues_are_counted(sizes: list[str], waiting: int | None) -> None:
    queues = [{"queue": "QUANTUM_TASKS_QUEUE", "queueSize": size} for size in sizes]
    jobs = {"queue": "JOBS_QUEUE", "queueSize": "100"}
    assert facts(deviceQueueInfo=[*queues, jobs]).queue == waiting


# -- jobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("programs", "limits", "jobs"),
    [
        ([(10, False)] * 5, Limits(programs=3), [3, 2]),
        ([(10, False)] * 5, Limits(total_shots=25), [2, 2, 1]),
        ([(30, False)] * 2, Limits(total_shots=25), [1, 1]),
        ([(None, True)] * 3, Limits(programs=100), [1, 1, 1]),
        ([(10, False), (10, True), (10, False), (10, False)], Limits(), [1, 1, 2]),
        ([], Limits(programs=3), []),
    ],
)
def test_programs_are_cut_into_jobs(
    programs: list[tuple[int | None, bool]], limits: Limits, jobs: list[int]
) -> None:
    made = [Program(payload=None, key="", shots=shots, alone=alone) for shots, alone in programs]
    cut = parts(made, limits)
    assert [len(part) for part in cut] == jobs
    assert [number for part in cut for number in part] == list(range(len(made)))


# -- results -------------------------------------------------------------------------------------


def program(source: str = "", measured: tuple[int, ...] = (0, 1)) -> BraketProgram:
    return BraketProgram(source=source, qubits=2, gates=1, measured=measured)


def of_task(**body: Any) -> Any:
    payload = body.pop("payload", program())
    shots = body.pop("shots", 4)
    return task_result({"taskMetadata": {"id": "arn"}, **body}, payload, shots, "arn")


def test_columns_are_brought_into_the_programs_order() -> None:
    bits = of_task(
        measurements=[[1, 0, 0]] * 4, measuredQubits=[1, 7, 0], payload=program(measured=(0, 1))
    )
    np.testing.assert_array_equal(bits.array, [[0, 1]] * 4)


@pytest.mark.parametrize(
    ("probabilities", "shots", "counts"),
    [
        ({"00": 0.5, "11": 0.5}, 4, {"00": 2, "11": 2}),
        ({"00": 0.1, "11": 0.9}, 10, {"00": 1, "11": 9}),
        ({"00": 1 / 3, "01": 1 / 3, "11": 1 / 3}, 3, {"00": 1, "01": 1, "11": 1}),
        ({"01": 1.0}, 7, {"01": 7}),
    ],
)
def test_probabilities_become_shots(
    probabilities: dict[str, float], shots: int, counts: dict[str, int]
) -> None:
    bits = of_task(measurementProbabilities=probabilities, measuredQubits=[0, 1], shots=shots)
    words = ["".join(map(str, row)) for row in bits.array]
    assert {word: words.count(word) for word in words} == counts


def test_shots_made_of_probabilities_are_in_no_order() -> None:
    bits = of_task(
        measurementProbabilities={"0": 0.5, "1": 0.5},
        measuredQubits=[0],
        payload=program(measured=(0,)),
        shots=1000,
    )
    assert 400 < bits.array[:500].sum() * 2 < 600


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"taskMetadata": {}}, "are of None, not of arn"),
        ({"measurements": [[0, 1]] * 3, "measuredQubits": [0, 1]}, "3 shots of 4"),
        ({"measurements": [0, 1, 0, 1], "measuredQubits": [0, 1]}, "no table of shots"),
        ({"measuredQubits": [0, 1]}, "not those of 4 shots"),
        ({"measurementProbabilities": {"00": 0.1}, "measuredQubits": [0, 1]}, "not those of"),
        ({"measurementProbabilities": {"00": 9.0}, "measuredQubits": [0, 1]}, "not those of"),
        ({"measurements": [[0]] * 4, "measuredQubits": [0]}, r"no results of qubits \[1\]"),
        ({"shots": 0, "payload": program(), "resultTypes": [{"type": {"type": "x"}}]}, "were ask"),
    ],
)
def test_what_is_not_whole_is_refused(body: dict[str, Any], said: str) -> None:
    with pytest.raises(CircuitError, match=said):
        of_task(**body)


def of_program(source: str, bit: int) -> dict[str, Any]:
    result = {"measurements": [[bit]] * 2, "measuredQubits": [0], "inputsIndex": 0}
    return {"source": {"source": source}, "executableResults": [result]}


@pytest.mark.parametrize(
    ("order", "bits"),
    [
        (["a", "b", "a"], [0, 1, 2]),
        (["b", "a", "a"], [1, 0, 2]),  # equal programs keep their order
        (["a ", "\nb", "a"], [0, 1, 2]),
        (["x", "y", "z"], [0, 1, 2]),  # in the provider's own words: taken as they come
    ],
)
def test_programs_of_a_set_are_told_apart_by_their_source(
    order: list[str], bits: list[int]
) -> None:
    found = [of_program(source, number) for number, source in enumerate(order)]
    payloads = [program(source, (0,)) for source in ("a", "b", "a")]
    results: list[Any] = set_results(found, payloads, 2)
    assert [int(result.array[0, 0]) for result in results] == bits


@pytest.mark.parametrize("order", [["a", "a", "a"], ["a", "b", "c"], ["b", "b", "a"]])
def test_programs_that_were_not_asked_for_are_refused(order: list[str]) -> None:
    found = [of_program(source, 0) for source in order]
    with pytest.raises(CircuitError, match="not those of its programs"):
        set_results(found, [program(source, (0,)) for source in ("a", "b", "a")], 2)


def test_a_program_without_its_one_result_fails_by_itself() -> None:
    found = [of_program("a", 0), of_program("b", 0)]
    found[0]["executableResults"] = []
    first, second = set_results(found, [program("a", (0,)), program("b", (0,))], 2)
    assert isinstance(first, CircuitError)
    assert not isinstance(second, Exception)
