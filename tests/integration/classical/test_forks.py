"""Electrons that fork: a child that comes back to the worker ends, and answers nobody."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.triggers import BaseTrigger
from qcov.executor import AsyncBaseExecutor, BaseExecutor
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]


def ended(pid: int) -> int:
    """How a child of this process has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def come_back(how: str) -> Any:
    """What a child does that is done."""
    print(f"child: {how}")
    if how == "raise":
        raise ValueError("in the child")
    if how.startswith("exit "):
        sys.exit(eval(how.removeprefix("exit ")))
    if how == "leave":
        os._exit(7)
    return how


def others_are_right(run: Run) -> bool:
    """Whether workers give each electron its own answer; those that follow a fork included."""
    same = ct.electron(lambda x: x)
    return run(lambda: [same(x) for x in range(30)]).result == list(range(30))


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("return", 0, ""),
        ("raise", 1, "ValueError: in the child\n"),
        ("exit None", 0, ""),
        ("exit 3", 3, ""),
        ("exit 256 + 4", 4, ""),
        ("exit 'no more'", 1, "no more\n"),
        ("leave", 7, ""),
    ],
)
def test_a_child_that_comes_back_ends(run: Run, how: str, status: int, told: str) -> None:
    @ct.electron
    def fork() -> Any:
        pid = os.fork()
        return ended(pid) if pid else come_back(how)

    result = run(lambda: [fork() for _ in range(3)])

    assert result.result == [status] * 3
    node = result.get_node_result(0)
    assert node["stderr"].endswith(told) if told else not node["stderr"]
    assert node["stdout"] == f"child: {how}\n"
    assert others_are_right(run)


@pytest.mark.parametrize("how", ["return", "raise", "exit 0"])
def test_a_child_that_outlives_its_electron(run: Run, tmp_path: Path, how: str) -> None:
    go_on = tmp_path / "go on"
    os.mkfifo(go_on)

    @ct.electron
    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            go_on.read_text()
            come_back(how)
        return pid

    result = run(fork)
    assert psutil.pid_exists(result.result)
    go_on.write_text("")

    until(lambda: not alive(result.result))
    assert others_are_right(run)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def in_a_loop() -> Any:
    await asyncio.sleep(0)
    pid = os.fork()
    return ended(pid) if pid else "child"


class Fork(BaseExecutor):
    """Forks in one of its methods."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _fork(self, where: str) -> None:
        if self.where == where:
            pid = os.fork()
            print(where, ended(pid) if pid else "child")

    def setup(self, task_metadata: Any) -> None:
        self._fork("setup")

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        self._fork("run")
        return function(*args, **kwargs)

    def teardown(self, task_metadata: Any) -> None:
        self._fork("teardown")
        print("torn down")


class ForkInLoop(AsyncBaseExecutor):
    async def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return await in_a_loop()

    async def teardown(self, task_metadata: Any) -> None:
        print("torn down")


def test_coroutines(run: Run) -> None:
    assert run(ct.electron(in_a_loop)).result == 0
    assert others_are_right(run)


@pytest.mark.parametrize("where", ["setup", "run"])
def test_executors_of_users_own(run: Run, where: str) -> None:
    result = run(ct.electron(lambda: 5, executor=Fork(where)))

    assert result.result == 5
    assert result.get_node_result(0)["stdout"].splitlines() == [
        f"{where} child", f"{where} 0", "torn down",
    ]  # fmt: skip
    assert others_are_right(run)


def test_an_executor_that_forks_at_its_end(run: Run) -> None:
    result = run(ct.electron(lambda: 5, executor=Fork("teardown")))

    assert result.result == 5
    assert others_are_right(run)


def test_a_coroutine_of_an_executor(run: Run) -> None:
    result = run(ct.electron(lambda: 5, executor=ForkInLoop()))

    assert result.result == 0
    assert result.get_node_result(0)["stdout"] == "torn down\n"
    assert others_are_right(run)


def test_an_electron_on_an_executor_of_a_users_own(run: Run) -> None:
    @ct.electron(executor=Fork("nowhere"), call_before=lambda: print("before"))
    def fork() -> Any:
        pid = os.fork()
        return ended(pid) if pid else "child"

    result = run(fork)

    assert result.result == 0
    assert result.get_node_result(0)["stdout"].splitlines() == ["before", "torn down"]


def test_a_step_before_an_electron(run: Run) -> None:
    def fork() -> Any:
        pid = os.fork()
        return ended(pid) if pid else "child"

    @ct.electron(call_before=ct.DepsCall(fork, retval_keyword="status"))
    def say(status: Any = None) -> Any:
        print("once")
        return status

    result = run(say)
    assert (result.result, result.get_node_result(0)["stdout"]) == (0, "once\n")


def test_a_sublattice(run: Run) -> None:
    @ct.electron
    @ct.lattice
    def inner() -> Any:
        pid = os.fork()
        return ct.electron(lambda x: x)(ended(pid) if pid else "child")

    assert run(lambda: [inner()]).result == [0]
    assert others_are_right(run)


class Forking(BaseTrigger):
    """Fires once in this process, after a child of it has come back."""

    def observe(self) -> None:
        pid = os.fork()
        if pid and ended(pid) == 0:
            self.trigger()


def test_a_trigger() -> None:
    trigger = Forking()
    dispatch_id = ct.dispatch(ct.lattice(ct.electron(lambda: 5), triggers=trigger))()

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 5
    ct.stop_triggers(dispatch_id)
    assert trigger.new_dispatch_ids == [dispatch_id]


def absolutes(kind: str) -> list[int]:
    with get_context(kind).Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def in_a_pool(kind: str) -> list[int]:
    with ProcessPoolExecutor(2, mp_context=get_context(kind)) as pool:
        return list(pool.map(abs, [-3, -4]))


def in_a_process() -> int | None:
    process = multiprocessing.get_context("fork").Process(target=sys.exit, args=(6,))
    process.start()
    process.join()
    return process.exitcode


def in_a_command() -> list[str]:
    ran = subprocess.run(
        ["echo", "hello"], capture_output=True, text=True, check=True,
        preexec_fn=lambda: None, close_fds=False,
    )  # fmt: skip
    return [ran.stdout]


@pytest.mark.parametrize(
    ("work", "args", "expected"),
    [
        (absolutes, ["fork"], [1, 2]),
        (absolutes, ["spawn"], [1, 2]),
        (in_a_pool, ["fork"], [3, 4]),
        (in_a_pool, ["spawn"], [3, 4]),
        (in_a_process, [], 6),
        (in_a_command, [], ["hello\n"]),
    ],
)
def test_what_forks_for_a_user(run: Run, work: Any, args: list[str], expected: Any) -> None:
    result = run(ct.electron(work), *args)

    assert result.result == expected, result.error
    assert others_are_right(run)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_children_have_nothing_of_the_channel(run: Run) -> None:
    look = (
        "import os; files = [f'/proc/self/fd/{name}' for name in os.listdir('/proc/self/fd')];"
        "print([os.readlink(file) for file in files if os.path.islink(file)])"
    )

    @ct.electron
    def in_a_command() -> int:
        return os.system(f'{sys.executable} -c "{look}"')

    @ct.electron
    def in_a_child() -> int:
        pid = os.fork()
        if pid:
            return ended(pid)
        exec(look, {})
        os._exit(0)

    result = run(lambda: [in_a_command(), in_a_child()])

    assert result.result == [0, 0]
    printed = [node["stdout"] for node in result.get_all_node_results() if node["stdout"]]
    assert [("/dev/null" in text, "socket:" in text) for text in printed] == [(True, False)] * 2
