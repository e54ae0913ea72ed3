"""Electrons with `cache=True` run once for the same code and inputs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.config import data_dir
from qcov.errors import WrongSetting

pytestmark = pytest.mark.usefixtures("common_engine")

Counter = tuple[Callable[[str], None], Callable[[], list[str]]]


def origins(result: ct.Result) -> list[str | None]:
    """Which dispatches have computed the electrons' values."""
    assert result.status == "COMPLETED", result.error
    nodes = result.get_all_node_results()
    return [node["reused_from"] for node in nodes if not node["node_name"].startswith(":")]


def calling(task: Callable[..., Any]) -> ct.Lattice:
    @ct.lattice
    def workflow(*args: Any) -> Any:
        return task(*args)

    return workflow


@pytest.fixture
def square(counter: Counter) -> Callable[..., ct.Electron]:
    note, _ = counter

    def make(**settings: Any) -> ct.Electron:
        @ct.electron(**settings)
        def square(x: int) -> dict[str, int]:
            note(f"ran{x}")
            return {"square": x * x}

        return square

    return make


def test_equal_calls_run_once(square: Any, counter: Counter) -> None:
    task = square(cache=True)
    workflow = calling(task)
    first = ct.dispatch_sync(workflow)(3)
    second = ct.dispatch_sync(workflow)(3)
    assert first.result == second.result == {"square": 9}
    assert (origins(first), origins(second)) == ([None], [first.dispatch_id])
    assert ct.dispatch_sync(workflow)(4).result == {"square": 16}
    assert counter[1]() == ["ran3", "ran4"]


def test_other_code_runs(counter: Counter) -> None:
    note, lines = counter

    def make(by: int) -> ct.Lattice:
        @ct.electron(cache=True)
        def add(x: int) -> int:
            note("ran")
            return x + by

        return calling(add)

    assert [ct.dispatch_sync(make(by))(1).result for by in (1, 2, 1)] == [2, 3, 2]
    assert lines() == ["ran", "ran"]


def test_what_is_not_marked_runs(square: Any, counter: Counter) -> None:
    cached, plain = square(cache=True), square()
    for task in (cached, plain, plain):
        assert ct.dispatch_sync(calling(task))(3).status == "COMPLETED"
    assert counter[1]() == ["ran3"] * 3


def test_elements_of_a_kept_value(square: Any, counter: Counter) -> None:
    task = square(cache=True)
    assert ct.dispatch_sync(calling(task))(3).result == {"square": 9}
    assert ct.dispatch_sync(ct.lattice(lambda x: task(x)["square"]))(3).result == 9
    assert counter[1]() == ["ran3"]


def test_failures_are_not_kept(counter: Counter, tmp_path: Path) -> None:
    note, lines = counter
    mended = tmp_path / "mended"

    @ct.electron(cache=True)
    def fragile() -> int:
        note("ran")
        if not mended.exists():
            raise ValueError("not yet")
        return 1

    workflow = calling(fragile)
    assert ct.dispatch_sync(workflow)().status == "FAILED"
    mended.touch()
    assert [ct.dispatch_sync(workflow)().result for _ in range(2)] == [1, 1]
    assert lines() == ["ran", "ran"]


def test_sublattices_are_kept(counter: Counter) -> None:
    note, lines = counter

    @ct.electron
    def step(x: int) -> int:
        note("ran")
        return x + 1

    inner = ct.electron(ct.lattice(lambda x: step(step(x))), cache=True)
    workflow = calling(inner)
    assert [ct.dispatch_sync(workflow)(1).result for _ in range(2)] == [3, 3]
    assert lines() == ["ran", "ran"]


def test_a_setting_that_is_changed_later(square: Any, counter: Counter) -> None:
    task = square()
    task.set_metadata("cache", True)
    for _ in range(2):
        ct.dispatch_sync(calling(task))(3)
    assert counter[1]() == ["ran3"]
    with pytest.raises(WrongSetting, match="cache must be True or False, not 'yes'"):
        ct.electron(abs, cache="yes")


def test_a_kept_value_that_was_tampered_with_is_computed_again(
    square: Any, counter: Counter
) -> None:
    task = square(cache=True)
    workflow = calling(task)
    ct.dispatch_sync(workflow)(7)
    with closing(sqlite3.connect(data_dir() / "qcov.sqlite")) as database, database:
        database.execute("UPDATE memo SET output_seal = 'wrong'")
    assert ct.dispatch_sync(workflow)(7).result == {"square": 49}
    assert counter[1]() == ["ran7", "ran7"]
