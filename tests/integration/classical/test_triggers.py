"""Triggers with a real engine: they start dispatches, and go on when it is started again."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.triggers import BaseTrigger, DirTrigger, TimeTrigger
from qcov.errors import DispatchNotFound, EngineError

Process = Callable[[Path], psutil.Process]


@ct.electron
def pid(x: int) -> int:
    return os.getpid() * 0 + x


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def results(trigger: BaseTrigger) -> list[Any]:
    ids = trigger.new_dispatch_ids
    return [ct.get_result(each, wait=True, timeout=60).result for each in ids]


@pytest.fixture
def quiet() -> Any:
    """Stops what a test has started, whatever happens."""
    started: list[str] = []
    yield started.append
    for dispatch_id in started:
        with contextlib.suppress(DispatchNotFound):
            ct.stop_triggers(dispatch_id)


@pytest.mark.usefixtures("common_engine")
class TestWatching:
    def test_the_first_one_starts_what_was_stored(self, quiet: Any) -> None:
        trigger = TimeTrigger(0.1)
        workflow = ct.lattice(pid, triggers=[trigger])

        dispatch_id = ct.dispatch(workflow)(7)
        quiet(dispatch_id)

        until(lambda: len(trigger.new_dispatch_ids) >= 3)
        ct.stop_triggers(dispatch_id)
        ids = trigger.new_dispatch_ids
        assert ids[0] == dispatch_id
        assert len(set(ids)) == len(ids)
        assert set(results(trigger)) == {7}
        time.sleep(0.3)
        assert trigger.new_dispatch_ids == ids

    def test_each_dispatch_has_triggers_of_its_own(self, quiet: Any, tmp_path: Path) -> None:
        trigger = DirTrigger(tmp_path, "created")
        workflow = ct.lattice(pid, triggers=trigger)

        first = ct.dispatch(workflow)(1)
        second = ct.dispatch(workflow)(2)
        quiet(first)
        quiet(second)
        (tmp_path / "file").touch()

        for dispatch_id, value in ((first, 1), (second, 2)):
            assert ct.get_result(dispatch_id, wait=True, timeout=60).result == value
        assert trigger.lattice_dispatch_id == second

    def test_a_folder(self, quiet: Any, tmp_path: Path) -> None:
        done = ct.dispatch(ct.lattice(pid))(3)
        quiet(done)
        trigger = DirTrigger(tmp_path, ["created"], batch_size=2, lattice_dispatch_id=done)
        trigger.register()

        for number in range(5):
            (tmp_path / str(number)).touch()

        until(lambda: len(trigger.new_dispatch_ids) == 2)
        assert results(trigger) == [3, 3]

    def test_one_of_ones_own(self, quiet: Any, tmp_path: Path) -> None:
        class Named(BaseTrigger):
            def __init__(self, path: Path, *args: Any) -> None:
                super().__init__(*args)
                self.path = path

            def observe(self) -> None:
                while not self.path.exists():
                    time.sleep(0.01)
                self.trigger()
                while True:
                    time.sleep(0.01)

            def stop(self) -> None:
                self.path.with_name("stopped").touch()

        done = ct.dispatch(ct.lattice(pid))(4)
        trigger = Named(tmp_path / "go", done)
        trigger.register()

        (tmp_path / "go").touch()

        until(lambda: trigger.new_dispatch_ids)
        assert results(trigger) == [4]
        ct.stop_triggers([done])
        until((tmp_path / "stopped").exists)

    def test_by_hand(self) -> None:
        done = ct.dispatch(ct.lattice(pid))(5)
        before = len(ct.list_dispatches(1000))

        TimeTrigger(100, done).trigger()

        assert len(ct.list_dispatches(1000)) == before + 1

    def test_one_that_ends_at_once_is_an_error(self, tmp_path: Path) -> None:
        done = ct.dispatch(ct.lattice(pid))(6)

        with pytest.raises(EngineError, match="(?s)DirTrigger has ended: .*which is not there"):
            DirTrigger(tmp_path / "absent", "created", lattice_dispatch_id=done).register()

    def test_an_unknown_dispatch(self) -> None:
        with pytest.raises(DispatchNotFound):
            TimeTrigger(5, "no-such-id").register()
        with pytest.raises(DispatchNotFound):
            ct.stop_triggers("no-such-id")
        with pytest.raises(DispatchNotFound):
            TimeTrigger(5, "no-such-id").trigger()

    def test_one_whose_process_dies_watches_again(self, quiet: Any, tmp_path: Path) -> None:
        class Dying(BaseTrigger):
            def observe(self) -> None:
                with (tmp_path / "tries").open("a") as file:
                    file.write("x")
                if len((tmp_path / "tries").read_text()) < 2:
                    os._exit(1)
                self.trigger()
                time.sleep(600)

        done = ct.dispatch(ct.lattice(pid))(8)
        quiet(done)
        trigger = Dying(done)
        trigger.register()

        until(lambda: trigger.new_dispatch_ids)
        assert results(trigger) == [8]


def test_it_watches_on_when_the_engine_is_started_again(
    data_folder: Path, engine_process: Process, tmp_path: Path
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    trigger = DirTrigger(folder, "created")
    dispatch_id = ct.dispatch(ct.lattice(pid, triggers=trigger))(9)
    process = engine_process(data_folder)

    process.kill()
    process.wait(10)

    assert ct.get_result(dispatch_id).status == "NEW_OBJECT"  # this starts another engine
    assert engine_process(data_folder).pid != process.pid

    def made() -> bool:
        (folder / f"{time.monotonic_ns()}").touch()
        return bool(trigger.new_dispatch_ids)

    until(made)
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 9
    ct.stop_triggers(dispatch_id)
