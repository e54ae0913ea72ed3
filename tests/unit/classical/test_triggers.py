"""Triggers as values, and how each of them watches."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.engine.hosting import Watching
from qcov.classical.triggers import BaseTrigger, DirTrigger, TimeTrigger
from qcov.errors import WrongSetting
from qcov.transport import dumps, loads


class Counted(DirTrigger):
    """Counts instead of dispatching."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.fired = threading.Semaphore(0)

    def trigger(self) -> None:
        self.fired.release()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: TimeTrigger(0),
            "time_gap must be a number of seconds above 0, at most 1e\\+09, not 0",
        ),
        (lambda: TimeTrigger("5"), "time_gap must be"),  # type: ignore[arg-type]
        (lambda: TimeTrigger(True), "time_gap must be"),
        (lambda: TimeTrigger(float("nan")), "time_gap must be"),
        (lambda: TimeTrigger(1e300), "time_gap must be"),
        (lambda: DirTrigger("here", ["create"]), "Did you mean 'created'"),
        (lambda: DirTrigger("here", []), "event_names must be names of events, not empty"),
        (lambda: DirTrigger("here", "created", batch_size=0), "batch_size must be"),
        (lambda: DirTrigger("here", "created", 1.5), "batch_size must be"),  # type: ignore[arg-type]
        (lambda: ct.lattice(max, triggers=5), "triggers must be a trigger, or a list"),  # type: ignore[arg-type]
        (lambda: ct.lattice(max, triggers=[TimeTrigger]), "triggers must be a trigger"),  # type: ignore[list-item]
    ],
)
def test_what_cannot_be_is_refused_at_once(make: Callable[[], Any], reason: str) -> None:
    with pytest.raises(WrongSetting, match=reason):
        make()


def test_they_can_be_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    described = DirTrigger("below", "created", 3, "some-id", recursive=True).to_dict()

    assert described == {
        "name": "DirTrigger", "lattice_dispatch_id": "some-id", "dispatcher_addr": None,
        "triggers_server_addr": None, "dir_path": str(tmp_path / "below"),
        "event_names": ["created"], "batch_size": 3, "recursive": True, "n_changes": 0,
    }  # fmt: skip


@pytest.mark.parametrize("use", [BaseTrigger.register, BaseTrigger.trigger])
def test_without_a_dispatch_there_is_nothing_to_run(use: Callable[[Any], None]) -> None:
    with pytest.raises(RuntimeError, match="connected to no dispatch"):
        use(TimeTrigger(5))

    assert TimeTrigger(5).new_dispatch_ids == []


def test_they_travel_without_their_threads() -> None:
    trigger = TimeTrigger(5, "some-id")
    trigger.stop_flag = threading.Event()

    again = loads(dumps(trigger, what="it"))

    assert (again.time_gap, again.lattice_dispatch_id, again.stop_flag) == (5, "some-id", None)


def test_time_passes_until_it_is_stopped() -> None:
    class Ticking(TimeTrigger):
        def trigger(self) -> None:
            ticks.append(len(ticks))
            if len(ticks) == 3:
                self.stop()

    ticks: list[int] = []
    Ticking(0.001).observe()

    assert ticks == [0, 1, 2]


def _rename(folder: Path) -> None:
    (folder / "old").rename(folder / "new")


def _write(folder: Path) -> None:
    with (folder / "old").open("a") as file:
        file.write("more")


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("created", lambda folder: (folder / "made").touch()),
        ("deleted", lambda folder: (folder / "old").unlink()),
        ("modified", _write),
        ("moved", _rename),
        ("closed", _write),
    ],
)
def test_each_event_of_a_folder(tmp_path: Path, event: str, act: Callable[[Path], Any]) -> None:
    (tmp_path / "old").touch()
    trigger = Counted(tmp_path, [event])
    watching = Watching(trigger)
    ready = threading.Event()
    thread = threading.Thread(target=lambda: watching.run(ready=ready.set))
    thread.start()
    assert ready.wait(10)

    act(tmp_path)

    assert trigger.fired.acquire(timeout=10)
    watching.cancel()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("recursive", [True, False])
def test_events_are_counted(tmp_path: Path, recursive: bool) -> None:
    below = tmp_path / "below"
    below.mkdir()
    trigger = Counted(tmp_path, "created", batch_size=3, recursive=recursive)
    trigger.observe()

    for number in range(4):
        (below / str(number)).touch()
    for number in range(3):
        (tmp_path / f"a{number}").touch()

    assert trigger.fired.acquire(timeout=10)
    assert trigger.fired.acquire(timeout=10 if recursive else 0.2) == recursive
    trigger.stop()


def replaced_by_another(folder: Path) -> None:
    """The folder moves away, and another one comes in its place at once."""
    (folder.parent / "new").mkdir()
    folder.rename(folder.parent / "away")
    (folder.parent / "new").rename(folder)


@pytest.mark.parametrize(
    "replace", [lambda folder: (shutil.rmtree(folder), folder.mkdir()), replaced_by_another]
)
@pytest.mark.parametrize("recursive", [True, False])
def test_a_folder_that_was_made_again_is_watched_again(
    tmp_path: Path, replace: Callable[[Path], Any], recursive: bool
) -> None:
    folder = tmp_path / "watched"
    (folder / "below").mkdir(parents=True)
    (folder / "old").touch()
    trigger = Counted(folder, "created", recursive=recursive)
    trigger.observe()

    replace(folder)
    (folder / "below").mkdir()
    (folder / "below" / "deep").touch()
    (folder / "first").touch()

    for _ in ("below", "first", *(("deep",) if recursive else ())):
        assert trigger.fired.acquire(timeout=10)
    (folder / "second").touch()
    assert trigger.fired.acquire(timeout=10)
    assert not trigger.fired.acquire(timeout=1.5)  # nothing counts twice
    trigger.stop()


def test_a_file_that_an_editor_has_replaced_is_watched_again(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("1")
    trigger = Counted(file, "modified")
    trigger.observe()

    for number in range(2):
        (tmp_path / "draft").write_text("2")
        (tmp_path / "draft").rename(file)
        assert trigger.fired.acquire(timeout=10), number
    trigger.stop()


def test_a_trigger_of_ones_own_that_raises_does_not_end_the_watch(tmp_path: Path) -> None:
    class Failing(Counted):
        def trigger(self) -> None:
            super().trigger()
            raise ValueError("not now")

    trigger = Failing(tmp_path, "created")
    trigger.observe()

    for name in ("a", "b"):
        (tmp_path / name).touch()
        assert trigger.fired.acquire(timeout=10)
    trigger.stop()


def test_what_has_failed_is_stopped_before_it_watches_again() -> None:
    class Half(Counted):
        stopped = False

        def observe(self) -> None:
            raise ValueError("half way")

        def stop(self) -> None:
            self.stopped = True

    trigger = Half("here", "created")
    with pytest.raises(ValueError, match="half way"):
        Watching(trigger).run(ready=lambda: None)

    assert trigger.stopped


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting, match="dir_path must be a folder, not '.*', which is not"):
        DirTrigger(tmp_path / "absent", "created").observe()


def test_a_sublattice_does_not_take_triggers_over() -> None:
    outer = ct.lattice(max, triggers=TimeTrigger(5))
    inner = ct.lattice(min)

    assert inner.inheriting(outer.metadata, {}).get_metadata("triggers") is None
