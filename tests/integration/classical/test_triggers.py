"""Triggers with a real engine: they start dispatches, and go on when it is started again."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.engine.client import call, connect
from qcov.classical.manifest import environment
from qcov.classical.triggers import BaseTrigger, DirTrigger, TimeTrigger
from qcov.errors import DispatchNotFound, EngineError, InvalidRequest, WrongSetting
from qcov.transport import dumps
from tests.waiting import ended, until

Process = Callable[[Path], psutil.Process]


@ct.electron
def pid(x: int) -> int:
    return os.getpid() * 0 + x


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
        before = call("dispatches", limit=1)["total"]

        TimeTrigger(100, done).trigger()

        assert call("dispatches", limit=1)["total"] == before + 1

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
        (shown,) = ct.list_triggers(dispatch_id=done)
        assert shown.error == "its process died: it exited with status 1"

    def test_one_that_fails_later_watches_again(self, quiet: Any, tmp_path: Path) -> None:
        class Failing(BaseTrigger):
            def observe(self) -> None:
                while not (tmp_path / "go").exists():
                    time.sleep(0.01)
                if not (tmp_path / "failed").exists():
                    (tmp_path / "failed").touch()
                    raise ValueError("the network is gone")
                self.trigger()
                time.sleep(600)

        done = ct.dispatch(ct.lattice(pid))(8)
        quiet(done)
        trigger = Failing(done)
        trigger.register()
        (tmp_path / "go").touch()

        until(lambda: trigger.new_dispatch_ids)
        (shown,) = ct.list_triggers(dispatch_id=done)
        assert (shown.status, shown.runs) == ("ACTIVE", 1)
        assert "the network is gone" in str(shown.error)
        ct.stop_triggers(done)
        assert ct.list_triggers(dispatch_id=done)[0].status == "STOPPED"

    def test_one_that_returns_has_ended(self, quiet: Any, tmp_path: Path) -> None:
        class Returning(BaseTrigger):
            def observe(self) -> None:
                while not (tmp_path / "go").exists():
                    time.sleep(0.01)

        done = ct.dispatch(ct.lattice(pid))(8)
        quiet(done)
        Returning(done).register()
        (tmp_path / "go").touch()

        until(lambda: ct.list_triggers(status="FAILED", dispatch_id=done))
        assert "has returned" in str(ct.list_triggers(dispatch_id=done)[0].error)


def test_a_folder_that_comes_after_the_engine_is_watched(
    data_folder: Path, engine_process: Process, tmp_path: Path
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    trigger = DirTrigger(folder, "created")
    dispatch_id = ct.dispatch(ct.lattice(pid, triggers=trigger))(9)
    process = engine_process(data_folder)
    process.kill()
    until(lambda: ended(process))
    folder.rmdir()

    until(lambda: "is not there" in str(ct.list_triggers(dispatch_id=dispatch_id)[0].error))
    folder.mkdir()

    def made() -> bool:
        (folder / f"{time.monotonic_ns()}").touch()
        return bool(trigger.new_dispatch_ids)

    until(made)
    ct.stop_triggers(dispatch_id)


def test_it_watches_on_when_the_engine_is_started_again(
    data_folder: Path, engine_process: Process, tmp_path: Path
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    trigger = DirTrigger(folder, "created")
    dispatch_id = ct.dispatch(ct.lattice(pid, triggers=trigger))(9)
    process = engine_process(data_folder)

    process.kill()
    until(lambda: ended(process))

    assert ct.get_result(dispatch_id).status == "NEW_OBJECT"  # this starts another engine
    assert engine_process(data_folder).pid != process.pid

    def made() -> bool:
        (folder / f"{time.monotonic_ns()}").touch()
        return bool(trigger.new_dispatch_ids)

    until(made)
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 9
    ct.stop_triggers(dispatch_id)


@pytest.mark.usefixtures("common_engine")
class TestMended:
    def test_the_same_rerun_asked_for_often_is_one(self) -> None:
        done = ct.dispatch_sync(ct.lattice(pid))(1).dispatch_id
        new_id = str(uuid.uuid4())

        def ask(_: int) -> str:
            return call("rerun", dispatch_id=done, new_id=new_id, variables={}, trigger_id=None)

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(ask, range(8))) == {new_id}
        assert ct.get_result(new_id, wait=True, timeout=60).result == 1

    def test_one_that_raises_at_once_is_an_error(self) -> None:
        class Bad(BaseTrigger):
            def observe(self) -> None:
                raise ValueError("bad observe")

        done = ct.dispatch_sync(ct.lattice(pid))(1).dispatch_id
        with pytest.raises(EngineError, match="(?s)Bad has ended: .*bad observe"):
            Bad(done).register()

    @pytest.mark.parametrize("fires", ["itself", "another dispatch"])
    def test_one_that_was_stopped_starts_nothing_by_itself(
        self, tmp_path: Path, fires: str
    ) -> None:
        class Eager(BaseTrigger):
            def observe(self) -> None:
                while not (tmp_path / "end").exists():
                    self.trigger() if fires == "itself" else ct.dispatch(ct.lattice(pid))(1)
                    (tmp_path / "fired").touch()
                    time.sleep(0.01)
                (tmp_path / "ended").touch()

            def stop(self) -> None:
                (tmp_path / f"stopped {uuid.uuid4()}").touch()
                time.sleep(0.5)  # in which it would fire on
                (tmp_path / "end").touch()
                time.sleep(0.5)

        trigger = Eager(ct.dispatch_sync(ct.lattice(pid))(1).dispatch_id)
        trigger.register()
        until((tmp_path / "fired").exists)
        ct.stop_triggers(trigger.lattice_dispatch_id)
        before = call("dispatches", limit=1)["total"]
        time.sleep(0.3)
        assert call("dispatches", limit=1)["total"] == before
        assert len(list(tmp_path.glob("stopped *"))) == 1
        assert (tmp_path / "ended").exists()  # what stands behind its loop is done

        trigger.trigger()  # by hand
        assert call("dispatches", limit=1)["total"] == before + 1
        assert set(results(trigger)) == {1}

    def test_a_key_has_its_triggers_once(self, quiet: Any) -> None:
        ids: set[str] = set()
        for seconds in (3600, 3600):
            workflow = ct.lattice(pid, triggers=[TimeTrigger(seconds), TimeTrigger(seconds)])
            ids.add(ct.dispatch(workflow, key="once")(9))
        (dispatch_id,) = ids
        quiet(dispatch_id)

        assert len(ct.list_triggers(dispatch_id=dispatch_id)) == 2

    def test_what_no_trigger_will_start_is_given_up(self, tmp_path: Path) -> None:
        absent = DirTrigger(tmp_path / "absent", "created")
        workflow = ct.lattice(pid, triggers=[TimeTrigger(3600), absent])
        with pytest.raises(EngineError, match="DirTrigger has ended"):
            ct.dispatch(workflow)(10)

        given_up = str(absent.lattice_dispatch_id)
        assert ct.get_result(given_up).status == ct.status.CANCELLED
        states = sorted(each.status for each in ct.list_triggers(dispatch_id=given_up))
        assert states == ["FAILED", "STOPPED"]

    def test_one_that_fires_at_once_and_returns(self) -> None:
        class Once(BaseTrigger):
            def observe(self) -> None:
                self.trigger()

        dispatch_id = ct.dispatch(ct.lattice(pid, triggers=Once()))(11)

        assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 11

    def test_cancelling_what_waits_for_its_trigger_stops_that(self) -> None:
        trigger = TimeTrigger(3600)
        dispatch_id = ct.dispatch(ct.lattice(pid, triggers=trigger))(12)

        assert ct.cancel(dispatch_id).endswith("cancelled. Its triggers were stopped.")
        assert [each.status for each in ct.list_triggers(dispatch_id=dispatch_id)] == ["STOPPED"]

    def test_one_without_observe_is_refused_where_it_is_written(self) -> None:
        class Empty(BaseTrigger):
            pass

        with pytest.raises(WrongSetting, match="the class Empty must be one that defines `observ"):
            ct.lattice(pid, triggers=Empty())

    def test_a_trigger_that_is_registered_twice_is_one(self, quiet: Any) -> None:
        done = ct.dispatch_sync(ct.lattice(pid))(1).dispatch_id
        quiet(done)
        trigger = TimeTrigger(3600, done)
        trigger.register()
        described = {
            "id": trigger._id, "dispatch_id": done, "name": "TimeTrigger", "elsewhere": False,
            "object": dumps(trigger, what="it"), "environment": environment([]),
        }  # fmt: skip

        assert call("register_trigger", described=described) == trigger._id
        with pytest.raises(InvalidRequest, match="this is no environment"):
            call("register_trigger", described=described | {"environment": {"host": "here"}})
        assert ct.dispatch_sync(ct.lattice(pid))(2).result == 2  # the engine lives

    def test_a_run_that_cannot_be_started_does_not_end_it(self, quiet: Any, tmp_path: Path) -> None:
        class Flaky(DirTrigger):
            def trigger(self) -> None:
                if not (tmp_path / "well").exists():
                    raise EngineError("not now")
                super().trigger()

        watched = tmp_path / "watched"
        watched.mkdir()
        done = ct.dispatch_sync(ct.lattice(pid))(1).dispatch_id
        quiet(done)
        trigger = Flaky(watched, "created", lattice_dispatch_id=done)
        trigger.register()
        (watched / "first").touch()
        time.sleep(0.3)
        (tmp_path / "well").touch()
        (watched / "second").touch()

        until(lambda: trigger.new_dispatch_ids)


def test_a_client_that_leaves_does_not_stop_a_rerun(data_folder: Path) -> None:
    done = ct.dispatch_sync(ct.lattice(pid))(1).dispatch_id
    ids: list[str] = []

    def ask_and_leave(after: float) -> None:
        ids.append(str(uuid.uuid4()))
        client = connect(start=False)
        asked = {"dispatch_id": done, "new_id": ids[-1], "variables": {}, "trigger_id": None}
        client._channel.send({"number": 1, "verb": "rerun", "arguments": asked})
        time.sleep(after)
        client.close()

    for number in range(12):
        ask_and_leave(number * 0.0007)
    pause = 0.01
    while not any(map(known, ids)):  # they have left before the engine had begun with it
        ask_and_leave(pause)
        pause *= 2
    ct.dispatch_sync(ct.lattice(pid))(2)
    for each in filter(known, ids):
        assert ct.get_result(each, wait=True, timeout=60).result == 1


def known(dispatch_id: str) -> bool:
    with contextlib.suppress(DispatchNotFound):
        return bool(ct.get_result(dispatch_id, status_only=True))
    return False
