"""Executors of users' own, at work."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.executor import AsyncBaseExecutor, BaseExecutor, DispatchInfo, LocalExecutor, wrapper_fn
from tests.integration.classical.conftest import Gate, Script

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]


class Scaling(BaseExecutor):
    def __init__(self, factor: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.factor = factor

    def setup(self, task_metadata: Any) -> None:
        print("setup", sorted(task_metadata))

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return function(*args, **kwargs) * self.factor

    def teardown(self, task_metadata: Any) -> None:
        print("teardown")


class Later(AsyncBaseExecutor):
    async def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs), await self.get_cancel_requested()


class AsTheHowTo(BaseExecutor):
    """The form of Covalent's how-to: `execute` with the steps, the streams and the error."""

    def __init__(self, given: str, **settings: Any) -> None:
        self.given = given
        super().__init__(**settings)

    def execute(  # type: ignore[override]
        self, function: Any, args: Any, kwargs: Any, call_before: Any, call_after: Any,
        dispatch_id: str, results_dir: str, node_id: int = -1,
    ) -> Any:  # fmt: skip
        wrapped = wrapper_fn(function, call_before, call_after, args, kwargs).get_deserialized()
        value = error = None
        with (
            self.get_dispatch_context(DispatchInfo(dispatch_id)),
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
        ):
            try:
                value = wrapped(*args, **kwargs)
            except ZeroDivisionError as raised:
                error = raised
        return value, out.getvalue() + self.given, err.getvalue(), error

    def get_status(self, info_dict: Any) -> Any:
        return info_dict.get("STATUS")


class Waiting(BaseExecutor):
    """Works until it is told to stop."""

    def __init__(self, gate: Gate | None, answer: Any = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.gate, self.answer = gate, answer
        self.asked = False

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        self.set_job_handle(["job", 7])
        if self.gate is not None:
            with open(self.gate.begun, "w", encoding="utf-8") as told:
                told.write("runs")
        while not (self.get_cancel_requested() and self.asked):
            time.sleep(0.005)
        time.sleep(0.2)  # meanwhile it is written what was wrong with the answer
        raise InterruptedError

    def teardown(self, task_metadata: Any) -> None:
        print("teardown")

    def cancel(self, task_metadata: Any, job_handle: Any) -> Any:
        print("cancel", job_handle, task_metadata["node_id"])
        self.asked = True
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def value(result: ct.Result) -> Any:
    assert result.status == "COMPLETED", result.error
    return result.result


def test_they_run_electrons_with_all_that_belongs_to_them(run: Run) -> None:
    @ct.electron(
        executor=Scaling(10),
        deps_bash="echo bash",
        call_before=ct.DepsCall(lambda: 5, retval_keyword="y"),
        call_after=lambda: print("after"),
    )
    def add(x: int, y: int = 0) -> int:
        print("add", ct.get_context().electron if ct.get_context() else None)
        return x + y

    result = run(lambda: add(1))

    assert value(result) == 60
    node = result.get_node_result(0)
    assert node["stdout"].splitlines() == [
        "setup ['dispatch_id', 'node_id', 'results_dir']", "bash", "add add", "after", "teardown",
    ]  # fmt: skip


def test_coroutines(run: Run) -> None:
    assert value(run(ct.electron(lambda: 3, executor=Later()))) == (3, False)


def test_the_form_of_the_how_to(run: Run) -> None:
    @ct.electron(executor=AsTheHowTo(" and more", conda_env="x"), call_before=lambda: print("b"))
    def speak(x: int) -> int:
        print("hi")
        return 1 // x

    result = run(lambda: (speak(1), speak(0)))

    assert result.status == "FAILED"
    first, _, second, _ = result.get_all_node_results()
    assert (first["output"], first["stdout"]) == (1, "b\nhi\n and more")
    assert "ZeroDivisionError" in second["error"]
    assert second["stdout"] == "b\nhi\n and more"


def test_of_a_lattice_and_its_sublattices(run: Run) -> None:
    one = ct.electron(lambda: 1)
    inner = ct.electron(ct.lattice(one))
    workflow = ct.lattice(lambda: (one(), inner()), executor=Scaling(3))

    assert value(ct.dispatch_sync(workflow)()) == (3, 3)


def test_a_subclass_of_the_local_one(run: Run, tmp_path: Path) -> None:
    class Here(LocalExecutor):
        def setup(self, task_metadata: Any) -> None:
            os.chdir(tmp_path)

    assert value(run(ct.electron(os.getcwd, executor=Here()))) == str(tmp_path)


def test_many_wait_at_the_same_time(run: Run, tmp_path: Path) -> None:
    count = 12
    folder = tmp_path / "here"
    folder.mkdir()

    class Meeting(BaseExecutor):
        def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
            (folder / str(task_metadata["node_id"])).touch()
            while len(list(folder.iterdir())) < count:  # all of them are here, or none goes on
                time.sleep(0.01)
            return function(*args, **kwargs)

    meet = ct.electron(lambda: 1, executor=Meeting(time_limit=60))
    assert value(run(lambda: [meet() for _ in range(count)])) == [1] * count


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (True, ""),
        (False, "[Waiting.cancel did not say that the work is stopped: False]"),
        (ValueError("no"), "[Waiting.cancel did not say that the work is stopped: 'raised Val"),
    ],
)
def test_cancelling_asks_the_executor(gate: Gate, answer: Any, told: str) -> None:
    dispatch_id = ct.dispatch(ct.lattice(ct.electron(lambda: 1, executor=Waiting(gate, answer))))()
    gate.wait()

    ct.cancel(dispatch_id)

    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    node = result.get_node_result(0)
    assert (result.status, node["status"]) == ("CANCELLED", "CANCELLED")
    assert node["stdout"].splitlines() == ["cancel ['job', 7] 0", "teardown"]
    assert node["stderr"].startswith(told)


def test_so_does_a_time_limit(run: Run) -> None:
    result = run(ct.electron(lambda: 1, executor=Waiting(None, time_limit=2)))

    assert "TimeLimitExceeded" in str(result.error)
    assert result.get_node_result(0)["stdout"].splitlines() == ["cancel ['job', 7] 0", "teardown"]


def test_one_that_dies_fails_its_electron_only(run: Run) -> None:
    class Dying(BaseExecutor):
        def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
            os._exit(3)

    ok = ct.electron(lambda: 1, executor=Scaling(2))
    result = run(lambda: (ok(), ct.electron(lambda: 1, executor=Dying())()))

    assert result.status == "FAILED"
    assert "WorkerLost" in str(result.error)
    assert result.get_node_result(0)["output"] == 2


def test_retries_are_the_executors(run: Run, tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    class Third(BaseExecutor):
        def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
            with tries.open("a") as file:
                file.write("x")
            if len(tries.read_text()) < 3:
                raise ConnectionError
            return function(*args, **kwargs)

    assert value(run(ct.electron(lambda: 7, executor=Third(retries=2)))) == 7


@pytest.mark.parametrize("kind", [Scaling, LocalExecutor])
def test_what_is_printed_goes_to_files_too(run: Run, tmp_path: Path, kind: Any) -> None:
    logs = {"log_stdout": str(tmp_path / "out.log"), "log_stderr": str(tmp_path / "err.log")}
    settings = {"factor": 1} if kind is Scaling else {}

    @ct.electron(executor=kind(**settings, **logs))
    def speak(word: str) -> int:
        print(word)
        os.write(2, f"{word}!\n".encode())
        return 1

    result = run(lambda: (speak("a"), speak("b")))

    assert value(result) == (1, 1)
    printed = (tmp_path / "out.log").read_text().split()
    assert sorted(set(printed) & {"a", "b"}) == ["a", "b"]
    assert sorted((tmp_path / "err.log").read_text().split()) == ["a!", "b!"]
    assert "a\n" in result.get_node_result(0)["stdout"]


def test_files_that_cannot_be_written_are_told_of(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    local = LocalExecutor(log_stdout=str(tmp_path / "file" / "log"))

    result = run(ct.electron(lambda: 1, executor=local))

    assert value(result) == 1
    stderr = result.get_node_result(0)["stderr"]
    assert "its log files could not be written: FileExistsError" in stderr


def test_a_value_is_kept_for_an_equal_executor_only(run: Run, counter: Any) -> None:
    note, lines = counter

    def one() -> int:
        note("ran")
        return 1

    def cached(executor: BaseExecutor) -> Any:
        return value(run(ct.electron(one, executor=executor, cache=True)))

    first, second = Scaling(2), Scaling(3)
    assert [cached(first), cached(Scaling(2)), cached(second)] == [2, 2, 3]
    assert len(lines()) == 2


def test_a_plugin_by_its_name(tmp_path: Path, script: Script) -> None:
    folder = tmp_path / "config" / "executor_plugins"
    folder.mkdir(parents=True)
    (folder / "tripling.py").write_text(
        "from qcov.executor import BaseExecutor\n"
        "EXECUTOR_PLUGIN_NAME = 'Tripling'\n"
        "_EXECUTOR_PLUGIN_DEFAULTS = {'factor': 3}\n"
        "class Tripling(BaseExecutor):\n"
        "    def __init__(self, factor=1):\n"
        "        super().__init__()\n"
        "        self.factor = factor\n"
        "    def run(self, function, args, kwargs, task_metadata):\n"
        "        return function(*args, **kwargs) * self.factor\n"
    )
    script.write("""
        import qcov as ct
        by_name = ct.electron(lambda: 1, executor="tripling")
        by_class = ct.electron(lambda: 1, executor=ct.executor.Tripling(4))
        print(ct.dispatch_sync(ct.lattice(lambda: [by_name(), by_class()]))().result)
    """)

    assert script.run(env={**os.environ, "QCOV_CONFIG_DIR": str(tmp_path / "config")}) == "[3, 4]"


def test_an_electron_that_waits_gives_its_place_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_engine: Callable[[Path], None]
) -> None:
    """Each waits for a dispatch whose electron is on such an executor too, and one may run."""
    folder = tmp_path / "own"
    monkeypatch.setenv("QCOV_DATA_DIR", str(folder))
    code = "from qcov.classical.engine import process, runner; runner._HOSTED = 1; process.main()"
    receiving, sending = os.pipe()
    command = [sys.executable, "-c", code, "--folder", str(folder), "--workers", "1"]
    engine = subprocess.Popen(
        [*command, "--idle-timeout", "60", "--ready", str(sending)], pass_fds=[sending]
    )
    os.close(sending)
    with os.fdopen(receiving) as ready:
        assert "pid" in ready.read()

    def descend(depth: int) -> Any:
        if depth == 0:
            return "deep"
        flow = ct.lattice(ct.electron(descend, executor=Scaling(1)))
        return ct.dispatch_sync(flow)(depth - 1).result

    dispatch_id = ct.dispatch(ct.lattice(ct.electron(descend, executor=Scaling(1))))(2)

    try:
        assert ct.get_result(dispatch_id, wait=True, timeout=60).result == "deep"
    finally:
        stop_engine(folder)
        engine.wait(60)


class Failing(BaseExecutor):
    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        raise ValueError("in run")

    def teardown(self, task_metadata: Any) -> None:
        raise KeyError("in teardown")


class FailingLater(AsyncBaseExecutor):
    async def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        raise ValueError("in run")

    async def teardown(self, task_metadata: Any) -> None:
        raise KeyError("in teardown")


@pytest.mark.parametrize("executor", [Failing(), FailingLater()])
def test_what_fails_first_is_the_reason(run: Run, executor: Any) -> None:
    result = run(ct.electron(lambda: 3, executor=executor))

    assert str(result.error).splitlines()[-1] == "<lambda>(0): ValueError: in run"
    told = "Then `teardown` raised KeyError: 'in teardown'"
    assert result.get_node_result(0)["error"].endswith(told)


class FailingAtTheEnd(BaseExecutor):
    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return function(*args, **kwargs)

    def teardown(self, task_metadata: Any) -> None:
        raise KeyError("in teardown")


def test_a_teardown_that_fails_alone(run: Run) -> None:
    result = run(ct.electron(lambda: 3, executor=FailingAtTheEnd()))

    assert str(result.error).splitlines()[-1] == "<lambda>(0): KeyError: 'in teardown'"
