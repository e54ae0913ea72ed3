"""Dispatches that are stored first and started later, and those that run again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import qcov as ct
from qcov.errors import DispatchNotFound, KeyTaken, WrongArguments, WrongSetting
from tests.waiting import ended, until

pytestmark = pytest.mark.usefixtures("common_engine")

Counter = tuple[Callable[[str], None], Callable[[], list[str]]]


@ct.electron
def double(x: Any) -> Any:
    return 2 * x


@ct.electron
def total(values: list[Any], start: Any = 0) -> Any:
    return sum(values, start)


@ct.lattice
def workflow(first: int, second: int = 1) -> Any:
    return total([double(first), double(second)], start=second)


@ct.lattice
def nested(x: int) -> Any:
    return double(ct.electron(workflow)(x))


def finished(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True)


# -- stored first, started later


def test_a_stored_dispatch_does_not_run() -> None:
    dispatch_id = ct.dispatch(workflow, disable_run=True)(3)
    result = ct.get_result(dispatch_id)
    assert result.status == ct.status.NEW_OBJECT
    assert result.start_time is None
    assert {node["status"] for node in result.get_all_node_results()} == {"NEW_OBJECT", "COMPLETED"}

    assert ct.redispatch(dispatch_id, is_pending=True)() == dispatch_id
    assert finished(dispatch_id).result == 9


def test_who_waits_for_a_stored_dispatch_gets_its_result() -> None:
    dispatch_id = ct.dispatch(workflow, disable_run=True)(3)
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(finished(dispatch_id).result))
    waiting.start()
    with pytest.raises(TimeoutError):
        ct.get_result(dispatch_id, wait=True, timeout=0.05)
    ct.redispatch(dispatch_id, is_pending=True)()
    waiting.join(30)
    assert got == [9]


def test_starting_twice_runs_once(counter: Counter) -> None:
    note, lines = counter
    dispatch_id = ct.dispatch(ct.lattice(lambda: ct.electron(note)("ran")), disable_run=True)()
    start = ct.redispatch(dispatch_id, is_pending=True)
    assert start() == start() == dispatch_id
    assert finished(dispatch_id).status == "COMPLETED"
    with pytest.warns(UserWarning, match="is COMPLETED already, so nothing was started"):
        assert start() == dispatch_id
    assert lines() == ["ran"]


def test_a_stored_dispatch_can_be_cancelled() -> None:
    dispatch_id = ct.dispatch(workflow, disable_run=True)(3)
    assert ct.cancel(dispatch_id) == f"Dispatch {dispatch_id} cancelled."
    assert finished(dispatch_id).status == "CANCELLED"
    with pytest.warns(UserWarning, match="is CANCELLED already, so nothing was started"):
        assert ct.redispatch(dispatch_id, is_pending=True)() == dispatch_id
    assert ct.get_result(dispatch_id, status_only=True) == "CANCELLED"


def test_nodes_of_a_stored_dispatch_are_cancelled_once_it_has_started() -> None:
    dispatch_id = ct.dispatch(workflow, disable_run=True)(3)
    with pytest.raises(
        WrongSetting, match="task_ids must be left out, to cancel all of a dispatch"
    ):
        ct.cancel(dispatch_id, task_ids=0)
    ct.redispatch(dispatch_id, is_pending=True)()
    assert finished(dispatch_id).result == 9


@pytest.mark.filterwarnings("ignore:dispatch .* is CANCELLED already")
@pytest.mark.parametrize("pause", [0.0, 0.001, 0.003])
def test_a_stored_dispatch_is_started_or_cancelled_not_both(pause: float, counter: Counter) -> None:
    note, lines = counter

    @ct.electron
    def endless() -> None:
        note(str(os.getpid()))
        time.sleep(600)

    dispatch_id = ct.dispatch(ct.lattice(lambda: endless()), disable_run=True)()  # noqa: PLW0108

    def start() -> None:
        time.sleep(pause)
        ct.redispatch(dispatch_id, is_pending=True)()

    starting = threading.Thread(target=start)
    starting.start()
    ct.cancel(dispatch_id)
    starting.join(60)
    assert finished(dispatch_id).status == "CANCELLED"
    time.sleep(0.5)  # that nothing starts is seen by no event
    until(lambda: all(ended(int(pid)) for pid in lines()))


def test_a_key_starts_what_was_stored_under_it() -> None:
    stored = ct.dispatch(workflow, disable_run=True, key="stored first")(3)
    assert ct.dispatch(workflow, disable_run=True, key="stored first")(3) == stored
    assert ct.get_result(stored, status_only=True) == "NEW_OBJECT"
    assert ct.dispatch(workflow, key="stored first")(3) == stored
    assert finished(stored).result == 9


def test_progress_of_a_stored_dispatch() -> None:
    dispatch_id = ct.dispatch(workflow, disable_run=True)(3)
    seen: list[Any] = []

    def follow() -> None:
        seen.extend(ct.watch(dispatch_id))

    watching = threading.Thread(target=follow)
    watching.start()
    time.sleep(0.2)
    assert len(seen) <= 1  # nothing has happened, so nothing is told again and again
    ct.redispatch(dispatch_id, is_pending=True)()
    watching.join(30)
    assert seen[-1].status == "COMPLETED"


def test_a_pending_dispatch_takes_no_arguments() -> None:
    dispatch_id = ct.dispatch(workflow, disable_run=True)(3)
    with pytest.raises(WrongSetting, match="is_pending must be given alone: that dispatch starts"):
        ct.redispatch(dispatch_id, is_pending=True)(4)
    assert ct.get_result(dispatch_id, status_only=True) == "NEW_OBJECT"


# -- once more


def test_the_arguments_of_the_earlier_dispatch_are_taken() -> None:
    """Covalent drops keyword arguments here, and sums up wrongly."""
    first = ct.dispatch(workflow)(3, second=5)
    second = ct.redispatch(first)()
    assert second != first
    assert finished(second).result == finished(first).result == 21
    assert finished(second).inputs == {"args": [3], "kwargs": {"second": 5}}


def test_new_arguments() -> None:
    assert finished(ct.redispatch(ct.dispatch(workflow)(3))(1, second=2)).result == 8


def test_electrons_are_replaced() -> None:
    first = ct.dispatch(workflow)(3, second=5)

    @ct.electron(retries=1)
    def triple(x: Any) -> Any:
        return 3 * x

    second = ct.redispatch(first, replace_electrons={"double": triple})()
    assert finished(second).result == 29
    assert [node["node_name"] for node in finished(second).get_all_node_results()].count(
        "triple"
    ) == 2
    assert finished(ct.redispatch(second)()).result == 29  # it is the lattice's from now on
    third = ct.redispatch(second, replace_electrons={"triple": lambda x: 4 * x})()
    assert finished(third).result == 37
    assert finished(ct.redispatch(first)()).result == 21


def test_electrons_of_sublattices_are_replaced() -> None:
    first = ct.dispatch(nested)(3)
    second = ct.redispatch(first, replace_electrons={"total": ct.electron(lambda values, start: 1)})
    assert (finished(first).result, finished(second()).result) == (18, 2)


@ct.electron
def negative(x: Any) -> Any:
    return -x


def test_what_a_sublattice_does_not_call_is_replaced_elsewhere() -> None:
    @ct.lattice
    def outer(x: int) -> Any:
        return negative(ct.electron(workflow)(x))

    first = ct.dispatch(outer)(3)
    second = ct.redispatch(first, replace_electrons={"negative": lambda x: x + 1})()
    assert (finished(first).result, finished(second).result) == (-9, 10)


def test_a_replacement_may_call_what_it_stands_for() -> None:
    first = ct.dispatch(workflow)(3)
    around = ct.electron(ct.lattice(lambda x: negative(double(x))))
    second = ct.redispatch(first, replace_electrons={"double": around})()
    assert finished(second).result == -7


def test_electrons_change_places() -> None:
    @ct.lattice
    def both(x: int) -> Any:
        return [double(x), negative(x)]

    first = ct.dispatch(both)(5)
    swapped = {"double": negative, "negative": double}
    second = ct.redispatch(first, replace_electrons=swapped)()
    assert (finished(first).result, finished(second).result) == ([10, -5], [-5, 10])


def test_a_key_is_for_the_same_electrons() -> None:
    first = ct.dispatch(workflow, key="with double")(3)
    with pytest.raises(KeyTaken):
        ct.redispatch(first, replace_electrons={"double": negative}, key="with double")()
    assert ct.redispatch(first, key="with double")() == first


def test_a_name_that_is_not_called_is_refused() -> None:
    """Covalent ignores it, and runs the old code."""
    first = ct.dispatch(workflow)(3)
    with pytest.raises(WrongSetting, match=r"calls \(double, total\), not given for 'doubel'"):
        ct.redispatch(first, replace_electrons={"doubel": double})()


def test_a_replacement_takes_the_same_arguments() -> None:
    first = ct.dispatch(workflow)(3)
    with pytest.raises(WrongArguments, match="nothing"):
        ct.redispatch(first, replace_electrons={"double": ct.electron(nothing)})()


def nothing() -> None: ...


def test_an_unknown_dispatch() -> None:
    with pytest.raises(DispatchNotFound):
        ct.redispatch("00000000-0000-0000-0000-000000000000")()
    with pytest.raises(DispatchNotFound):
        ct.redispatch("00000000-0000-0000-0000-000000000000", is_pending=True)()


# -- what did not change


def ran(result: ct.Result) -> dict[str, list[str | None]]:
    """Where the electrons' values come from, by name."""
    assert result.status == "COMPLETED", result.error
    found: dict[str, list[str | None]] = {}
    for node in result.get_all_node_results():
        if not node["node_name"].startswith(":"):
            found.setdefault(node["node_name"], []).append(node["reused_from"])
    return found


@pytest.fixture
def counted(counter: Counter) -> tuple[ct.Lattice, Callable[[], list[str]]]:
    note, lines = counter

    @ct.electron
    def load(n: int) -> list[int]:
        note("load")
        return list(range(n))

    @ct.electron
    def scale(values: list[int], by: int) -> list[int]:
        note("scale")
        return [by * value for value in values]

    @ct.electron
    def add(values: list[int]) -> int:
        note("add")
        return sum(values)

    @ct.lattice
    def pipeline(n: int, by: int) -> int:
        return add(scale(load(n), by))

    return pipeline, lines


def test_nothing_changed(counted: Any) -> None:
    pipeline, lines = counted
    first = ct.dispatch(pipeline)(5, 2)
    assert finished(first).result == 20
    second = ct.redispatch(first, reuse_previous_results=True)()
    assert finished(second).result == 20
    assert ran(finished(second)) == {"load": [first], "scale": [first], "add": [first]}
    third = ct.redispatch(second, reuse_previous_results=True)()
    assert ran(finished(third)) == {"load": [first], "scale": [first], "add": [first]}
    assert sorted(lines()) == ["add", "load", "scale"]


def test_what_depends_on_a_new_argument_runs(counted: Any) -> None:
    pipeline, lines = counted
    first = ct.dispatch(pipeline)(5, 2)
    assert finished(first).result == 20
    second = ct.redispatch(first, reuse_previous_results=True)(5, 3)
    assert finished(second).result == 30
    assert ran(finished(second)) == {"load": [first], "scale": [None], "add": [None]}
    assert lines().count("load") == 1


def test_a_replaced_electron_runs_and_what_gets_the_same_from_it_does_not(counted: Any) -> None:
    pipeline, lines = counted
    first = ct.dispatch(pipeline)(5, 2)
    assert finished(first).result == 20

    @ct.electron
    def twice(values: list[int], by: int) -> list[int]:
        return [value + value for value in values]

    again = ct.redispatch(first, replace_electrons={"scale": twice}, reuse_previous_results=True)()
    assert finished(again).result == 20
    assert ran(finished(again)) == {"load": [first], "twice": [None], "add": [first]}
    assert lines().count("add") == 1


def test_a_failed_dispatch_goes_on(tmp_path: Any, counter: Counter) -> None:
    note, lines = counter
    flag = tmp_path / "mended"

    @ct.electron
    def prepare() -> int:
        note("prepared")
        return 4

    @ct.electron
    def finish(x: int) -> int:
        if not flag.exists():
            raise ValueError("not yet")
        return x + 1

    first = ct.dispatch(ct.lattice(lambda: finish(prepare())))()
    assert finished(first).status == "FAILED"
    flag.touch()
    second = ct.redispatch(first, reuse_previous_results=True)()
    assert finished(second).result == 5
    assert lines() == ["prepared"]


@ct.electron
def draw() -> float:
    import random

    return random.random()


def test_equal_calls_keep_their_own_values() -> None:
    @ct.lattice
    def draws() -> list[float]:
        return [draw() for _ in range(6)]

    first = finished(ct.dispatch(draws)())
    again = ct.redispatch(first.dispatch_id, reuse_previous_results=True)()
    assert finished(again).result == first.result
    assert len(set(first.result)) == 6


def test_elements_are_cut_from_values_that_are_known() -> None:
    @ct.electron
    def record(x: int) -> dict[str, list[int]]:
        return {"values": [x, x + 1]}

    @ct.lattice
    def parts(x: int, which: int) -> int:
        return double(record(x)["values"][which])

    first = ct.dispatch(parts)(3, 0)
    assert finished(first).result == 6
    again = ct.redispatch(first, reuse_previous_results=True)(3, 1)
    assert finished(again).result == 8
    found = ran(finished(again))
    assert found["record"] == [first]
    assert found["double"] == [None]


def test_sublattices_are_reused_whole_or_in_part(counter: Counter) -> None:
    note, lines = counter

    @ct.electron
    def step(x: int) -> int:
        note(f"step{x}")
        return x + 1

    @ct.electron
    @ct.lattice
    def inner(x: int, y: int) -> int:
        return total([step(x), step(y)])

    @ct.lattice
    def outer(x: int, y: int) -> int:
        return double(inner(x, y))

    first = ct.dispatch(outer)(1, 2)
    assert finished(first).result == 10
    same = finished(ct.redispatch(first, reuse_previous_results=True)())
    assert ran(same) == {"double": [first], "inner": [first]}
    other = finished(ct.redispatch(first, reuse_previous_results=True)(1, 3))
    assert (other.result, ran(other)) == (12, {"double": [None], "inner": [None]})
    assert sorted(lines()) == ["step1", "step2", "step3"]
    inside = next(
        node["sublattice_result"]
        for node in other.get_all_node_results()
        if node["node_name"] == "inner"
    )
    assert sorted(map(str, ran(inside)["step"])) != ["None", "None"]


def test_large_values_are_reused() -> None:
    @ct.electron
    def much() -> bytes:
        return b"x" * 300_000

    first = ct.dispatch(ct.lattice(lambda: ct.electron(len)(much())))()
    assert finished(first).result == 300_000
    again = finished(ct.redispatch(first, reuse_previous_results=True)())
    assert (again.result, ran(again)["much"]) == (300_000, [first])
