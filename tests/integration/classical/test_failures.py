"""What fails, is stopped, or dies: only that, and never silently."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import qcov as ct
from qcov.errors import KeyTaken
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]


@ct.electron
def same(x: Any) -> Any:
    return x


def gone(pid: int) -> bool:
    """True once a process has ended; waits a little, as the system needs a moment."""
    try:
        psutil.Process(pid).wait(30)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def states(result: ct.Result) -> dict[str, str]:
    return {
        f"{node['node_name']}({node['node_id']})": str(node["status"])
        for node in result.get_all_node_results()
        if not node["node_name"].startswith(":")
    }


# -- retries and limits


@pytest.mark.parametrize(
    ("retries", "failures", "status", "runs"),
    [(0, 1, "FAILED", 1), (2, 2, "COMPLETED", 3), (2, 9, "FAILED", 3)],
    ids=["none", "enough", "too few"],
)
@pytest.mark.parametrize("where", ["electron", "executor", "lattice"])
def test_retries(
    counter: Any, retries: int, failures: int, status: str, runs: int, where: str
) -> None:
    note, lines = counter

    def flaky() -> str:
        note("ran")
        if len(lines()) <= failures:
            raise ValueError("not yet")
        return "at last"

    local = ct.executor.LocalExecutor(retries=retries)
    electron = {
        "electron": lambda: ct.electron(flaky, retries=retries),
        "executor": lambda: ct.electron(flaky, executor=local),
        "lattice": lambda: ct.electron(flaky),
    }[where]()
    workflow = ct.lattice(electron, executor=local if where == "lattice" else None)
    result = ct.dispatch_sync(workflow)()

    assert (result.status, len(lines())) == (status, runs)
    if status == "COMPLETED":
        assert result.get_node_result(0)["error"] is None


def test_a_retry_waits_for_its_delay(run: Run, counter: Any) -> None:
    note, lines = counter

    def flaky() -> None:
        note(str(time.monotonic()))
        if len(lines()) < 2:
            raise ValueError

    assert run(ct.electron(flaky, retries=1, retry_delay=0.3)).status == "COMPLETED"
    first, second = map(float, lines())
    assert second - first >= 0.3


def test_a_time_limit_stops_the_whole_group(run: Run, counter: Any) -> None:
    note, lines = counter

    def endless() -> None:
        grandchild = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=-1)
        assert grandchild.stdout is not None
        note(grandchild.stdout.readline().decode())
        note(str(grandchild.pid))
        note(str(os.getpid()))
        time.sleep(60)

    result = run(lambda: [ct.electron(endless, time_limit=2)(), same(1)])

    assert result.status == "FAILED"
    assert result.error is not None
    assert (
        "endless(0): TimeLimitExceeded: 'endless' was stopped after its time limit" in result.error
    )
    assert states(result)["same(1)"] == "COMPLETED"
    assert len(lines()) == 3
    assert all(gone(int(pid)) for pid in lines())


def test_a_time_limit_leaves_shorter_electrons_alone(run: Run) -> None:
    timed = ct.electron(lambda x: x, time_limit=5)

    assert run(lambda: [timed(number) for number in range(5)]).result == list(range(5))


# -- death


DEATHS: dict[str, tuple[Callable[[], object], str]] = {
    "exit": (lambda: os._exit(3), "it exited with status 3"),
    "segfault": (lambda: ctypes.string_at(0), "signal SIGSEGV"),
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal SIGKILL"),
    "exit 0": (lambda: os._exit(0), "it exited with status 0"),
}


@pytest.mark.parametrize(("die", "reason"), DEATHS.values(), ids=DEATHS)
def test_a_death_fails_only_the_electron_that_ran(
    run: Run, die: Callable[[], object], reason: str
) -> None:
    @ct.electron
    def dying() -> object:
        return die()

    result = run(lambda: [dying(), [same(number) for number in range(30)]])

    assert result.status == "FAILED"
    assert result.error is not None
    assert f"dying(0): WorkerLost: the process that ran 'dying' died: {reason}" in result.error
    rest = [state for name, state in states(result).items() if name.startswith("same")]
    assert rest == ["COMPLETED"] * 30


def test_electrons_handed_over_ahead_of_time_survive_a_death(run: Run, counter: Any) -> None:
    note, lines = counter

    @ct.electron
    def work(number: int) -> int:
        note(str(number))
        if number == 50:
            os._exit(1)
        return number

    run(lambda: [work(number) for number in range(-20, 0)])  # it is known to be short now
    before = len(lines())
    result = run(lambda: [work(number) for number in range(100)])

    assert sorted(map(int, lines()[before:])) == list(range(100))
    done = [state for state in states(result).values() if state == "COMPLETED"]
    assert len(done) == 99


class OnlyHere:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_a_function_that_cannot_be_loaded_says_so_each_time(run: Run) -> None:
    """The worker was sent it once, with the first electron of each."""
    captured = OnlyHere()

    @ct.electron(retries=2)
    def use(number: int) -> str:
        return f"{captured} {number}"

    result = run(lambda: [use(number) for number in range(20)])
    errors = [str(node["error"]) for node in result.get_all_node_results() if node["error"]]
    assert len(errors) == 20
    assert all("invalid literal for int()" in error for error in errors)


def test_a_death_can_be_retried(run: Run, counter: Any) -> None:
    note, lines = counter

    def once() -> str:
        note("ran")
        if len(lines()) == 1:
            os._exit(1)
        return "again"

    assert run(ct.electron(once, retries=1)).result == "again"


def test_a_daemon_that_outlives_its_worker_does_not_hang_the_dispatch(
    run: Run, counter: Any
) -> None:
    note, lines = counter

    def orphaning() -> None:
        child = os.fork()
        if child == 0:
            os.setsid()
            note(str(os.getpid()))
            time.sleep(30)
            os._exit(0)
        while not lines():
            time.sleep(0.01)
        os._exit(1)

    try:
        result = run(ct.electron(orphaning))
        assert result.status == "FAILED"
        assert "WorkerLost" in str(result.error)
    finally:
        for pid in lines():
            os.kill(int(pid), signal.SIGKILL)


# -- cancelling


def test_cancelling_stops_what_runs_and_starts_nothing(gate: Any, counter: Any) -> None:
    note, lines = counter

    def endless() -> None:
        child = subprocess.Popen(["sleep", "60"])
        note(f"{os.getpid()} {child.pid}")
        gate.pass_through("begun")

    def workflow() -> object:
        first = ct.electron(endless)()
        return same(first)

    dispatch_id = ct.dispatch(ct.lattice(workflow))()
    gate.wait()
    assert ct.cancel(dispatch_id) == f"Dispatch {dispatch_id} cancelled."
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == "CANCELLED"
    assert states(result) == {"endless(0)": "CANCELLED", "same(1)": "CANCELLED"}
    assert all(gone(int(pid)) for line in lines() for pid in line.split())
    assert "already CANCELLED" in ct.cancel(dispatch_id)


def test_what_cancelling_says_is_so() -> None:
    """Whenever it comes, while a dispatch ends too."""
    said: set[tuple[str, str]] = set()
    for number in range(200):
        dispatch_id = ct.dispatch(ct.lattice(lambda x: [same(x)]))(number)
        time.sleep(number % 40 * 0.0002)
        told = ct.cancel(dispatch_id).removeprefix(f"Dispatch {dispatch_id} ")
        said.add((told, str(ct.get_result(dispatch_id, wait=True).status)))

    assert said <= {("cancelled.", "CANCELLED"), ("is already COMPLETED.", "COMPLETED")}


def test_cancelling_one_node_leaves_the_others(gate: Any) -> None:
    def workflow() -> object:
        held = ct.electron(gate.pass_through)("begun")
        return same(held), same(3)

    dispatch_id = ct.dispatch(ct.lattice(workflow))()
    gate.wait()
    ct.cancel(dispatch_id, task_ids=0)
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == "CANCELLED"
    found = states(result)
    assert found["pass_through(0)"] == "CANCELLED"
    assert sorted(found.values()) == ["CANCELLED", "COMPLETED", "NEW_OBJECT"]


def test_cancelling_nodes_says_which_had_ended(gate: Any) -> None:
    workflow = ct.lattice(lambda: [ct.electron(gate.pass_through)("begun"), same(3)])
    dispatch_id = ct.dispatch(workflow)()
    gate.wait()
    until(lambda: ct.get_result(dispatch_id).get_node_result(2)["status"] == "COMPLETED")

    nothing = f"Nothing of dispatch {dispatch_id} was cancelled: node 2 had ended."
    assert ct.cancel(dispatch_id, [2]) == nothing
    some = f"Node 0 of dispatch {dispatch_id} cancelled; node 2 had ended."
    assert ct.cancel(dispatch_id, [0, 2]) == some


def test_cancelling_what_waits_between_two_tries(run: Run, counter: Any) -> None:
    note, lines = counter

    def failing() -> None:
        note("ran")
        raise ValueError

    dispatch_id = ct.dispatch(ct.lattice(ct.electron(failing, retries=5, retry_delay=30)))()
    while not lines() or ct.get_result(dispatch_id).get_node_result(0)["status"] != "PENDING":
        time.sleep(0.01)
    ct.cancel(dispatch_id)

    assert ct.get_result(dispatch_id, wait=True).status == "CANCELLED"
    assert lines() == ["ran"]


def test_cancelling_a_tree_of_sublattices(gate: Any, counter: Any) -> None:
    note, lines = counter

    def endless() -> None:
        note(str(os.getpid()))
        gate.pass_through("begun")

    inner = ct.electron(ct.lattice(lambda: ct.electron(endless)()))  # noqa: PLW0108
    outer = ct.electron(ct.lattice(lambda: inner()))  # noqa: PLW0108
    dispatch_id = ct.dispatch(ct.lattice(lambda: outer()))()  # noqa: PLW0108
    gate.wait()
    ct.cancel(dispatch_id)
    result = ct.get_result(dispatch_id, wait=True)

    assert all(gone(int(pid)) for pid in lines())
    while result is not None:
        assert result.status == "CANCELLED"
        node = result.get_node_result(0)
        assert node["status"] == "CANCELLED"
        result = node["sublattice_result"]


DEEP = 350  # sublattices within each other, more than calls of the engine can be


@ct.electron
@ct.lattice
def deeper(depth: int, innermost: Callable[[], Any]) -> Any:
    return deeper(depth - 1, innermost) if depth else ct.electron(innermost)()


@pytest.mark.parametrize("end", [ct.status.FAILED, ct.status.CANCELLED])
def test_the_end_of_very_many_sublattices_within_each_other(gate: Any, end: str) -> None:
    def innermost() -> None:
        gate.pass_through()
        raise ValueError

    dispatch_id = ct.dispatch(ct.lattice(lambda: deeper(DEEP, innermost)))()
    gate.wait()
    if end == "CANCELLED":
        ct.cancel(dispatch_id)
    else:
        gate.let_go()
    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == end


def test_cancelling_a_sublattice_fails_nothing_above_it_silently(gate: Any) -> None:
    inner = ct.electron(ct.lattice(lambda: ct.electron(gate.pass_through)("begun")))
    dispatch_id = ct.dispatch(ct.lattice(lambda: [inner(), same(1)]))()
    gate.wait()
    child = ct.get_result(dispatch_id).get_node_result(0)["sublattice_result"]
    ct.cancel(child.dispatch_id)
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == "FAILED"
    assert f"dispatch {child.dispatch_id} is CANCELLED" in str(result.error)
    assert states(result)["same(1)"] == "COMPLETED"


def test_cancelling_many_that_wait(gate: Any, counter: Any) -> None:
    note, lines = counter

    @ct.electron
    def count(_held: object, number: int) -> None:
        note(str(number))

    def workflow() -> object:
        held = ct.electron(gate.pass_through)("begun")
        return [count(held, number) for number in range(200)]

    dispatch_id = ct.dispatch(ct.lattice(workflow))()
    gate.wait()
    ct.cancel(dispatch_id)

    assert ct.get_result(dispatch_id, wait=True).status == "CANCELLED"
    assert lines() == []


# -- sublattices


@ct.electron
@ct.lattice
def doubled(x: int) -> dict[str, Any]:
    twice = same(x) + x
    return {"value": twice, "pair": (twice, [x])}


@ct.electron
@ct.lattice
def nested(x: int) -> Any:
    return doubled(doubled(x)["value"])["pair"]


@ct.electron
@ct.lattice
def broken(x: int) -> Any:
    return same(x)[3]


def test_sublattices_and_their_elements(run: Run) -> None:
    def workflow(x: int) -> Any:
        first, rest = nested(x)
        return first + 1, rest[0], doubled(x)

    result = run(workflow, 3)

    assert result.result == (13, 6, {"value": 6, "pair": (6, [3])})
    child = result.get_node_result(0)["sublattice_result"]
    assert (child.status, child.result, child.root_dispatch_id) == (
        "COMPLETED", (12, [6]), result.dispatch_id,
    )  # fmt: skip


def test_a_sublattice_lasts_from_its_building_to_its_end(run: Run) -> None:
    node = run(ct.electron(ct.lattice(lambda: same(same(1))))).get_node_result(0)
    inner = [each for each in node["sublattice_result"].get_all_node_results() if each["end_time"]]

    assert all(node["start_time"] < each["start_time"] for each in inner)
    assert all(node["end_time"] >= each["end_time"] for each in inner)


def test_a_sublattice_that_is_constant_or_empty(run: Run) -> None:
    constant = ct.electron(ct.lattice(lambda x: [x, 1]))

    assert run(lambda: constant(same(2))[0] + constant(5)[1]).result == 3


def test_a_failure_in_a_sublattice_is_told_above(run: Run) -> None:
    result = run(lambda: [same(broken(1)), same(7)])

    assert result.status == "FAILED"
    assert "DispatchFailed" in str(result.error)
    child = next(
        node["sublattice_result"]
        for node in result.get_all_node_results()
        if node["node_name"] == "broken"
    )
    assert child.status == "FAILED"
    assert "TypeError" in str(child.error)
    assert "TypeError" in str(result.error)


def test_an_exception_while_a_sublattice_is_built(run: Run) -> None:
    def building() -> Any:
        raise LookupError("no such molecule")

    result = run(ct.electron(ct.lattice(building)))
    error = result.get_node_result(0)["error"]

    assert "LookupError: no such molecule" in str(result.error)
    assert error.count("File ") == 1


def test_an_element_that_a_sublattice_does_not_have(run: Run) -> None:
    result = run(lambda: [same(doubled(1)["nothing"]), doubled(1)["value"]])

    assert "KeyError: 'nothing'" in str(result.error)
    assert "COMPLETED" in [state for name, state in states(result).items() if "value" in name]


# -- doing it once


def test_a_key_makes_a_dispatch_one(gate: Any, counter: Any) -> None:
    note, lines = counter

    def work() -> str:
        note("ran")
        gate.pass_through("begun")
        return "done"

    workflow = ct.lattice(ct.electron(work))
    key = f"key {gate.begun}"
    first = ct.dispatch(workflow, key=key)()
    gate.wait()
    while_running = ct.dispatch(workflow, key=key)()
    gate.let_go()
    assert ct.get_result(first, wait=True).result == "done"
    afterwards = ct.dispatch(workflow, key=key)()

    assert first == while_running == afterwards
    assert lines() == ["ran"]
    assert ct.dispatch_sync(ct.lattice(same), key=key + "2")(1).dispatch_id != first


def test_a_key_belongs_to_its_arguments_however_long(tmp_path: Path) -> None:
    class Opaque:
        """Its repr and its pickle are never the same twice."""

        def __init__(self) -> None:
            self.noise = os.urandom(4)

    workflow = ct.lattice(ct.electron(lambda numbers, array, thing: len(numbers)))
    many, array = list(range(1000)), np.arange(1000.0)
    dispatch = ct.dispatch(workflow, key=str(tmp_path))
    first = dispatch(many, array, Opaque())

    assert dispatch(many, array, Opaque()) == first
    for others in ([*many[:-1], -1], array), (many, array + 1), (tuple(many), array):
        with pytest.raises(KeyTaken):
            dispatch(*others, Opaque())


def test_a_key_asked_for_at_once_with_other_arguments(tmp_path: Path) -> None:
    def ask(number: int) -> object:
        try:
            return ct.dispatch(ct.lattice(same), key=str(tmp_path))(number)
        except KeyTaken as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert sum(isinstance(answer, str) for answer in answers) == 1


@pytest.mark.parametrize("end", ["FAILED", "CANCELLED"])
def test_a_key_is_free_again_after_a_failure(gate: Any, end: str) -> None:
    def work() -> None:
        gate.pass_through("begun")
        raise ValueError

    workflow = ct.lattice(ct.electron(work))
    first = ct.dispatch(workflow, key=f"key {gate.begun}")()
    gate.wait()
    gate.let_go() if end == "FAILED" else ct.cancel(first)
    assert ct.get_result(first, wait=True).status == end

    again = ct.dispatch(ct.lattice(same), key=f"key {gate.begun}")(5)
    assert again != first
    assert ct.get_result(again, wait=True).result == 5
    assert ct.get_result(first).status == end


def test_a_key_asked_for_by_many_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        ids = list(
            pool.map(lambda _: ct.dispatch(ct.lattice(same), key=str(tmp_path))(1), range(16))
        )
    assert len(set(ids)) == 1


def test_this_python_runs_the_electrons(run: Run) -> None:
    assert run(ct.electron(lambda: sys.executable)).result == sys.executable


@pytest.mark.parametrize(
    "said", ["Traceback (most recent call last):\n| \n| boom", "|\nThe above exception was \n\n"]
)
def test_messages_that_look_like_tracebacks(run: Run, said: str) -> None:
    @ct.electron
    def refuse() -> None:
        raise ValueError(f"the service said:\n{said}")

    failed = run(refuse)

    assert failed.status == "FAILED"
    assert said.splitlines()[0] in failed.get_node_result(0)["error"]
