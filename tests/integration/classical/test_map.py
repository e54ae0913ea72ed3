"""`ct.map` over electrons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import qcov as ct
from qcov.errors import WrongArguments

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]


@ct.electron
def add(x: Any, y: Any = 0, *, z: Any = 0) -> Any:
    return x + y + z


@ct.electron
def numbers(count: int) -> list[int]:
    return list(range(count))


@ct.electron
def total(values: list[int]) -> int:
    return sum(values)


def value(result: ct.Result) -> Any:
    assert result.status == "COMPLETED", result.error
    return result.result


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        (lambda: ct.map(add, [1, 2, 3]), [1, 2, 3]),
        (lambda: ct.map(add, (1, 2), np.array([10, 20]), z=100), [111, 122]),
        (lambda: ct.map(add, [1, add(2)], z=add(10)), [11, 12]),
        (lambda: ct.map(add, numbers(3)), [0, 1, 2]),  # as many as there will be
        (lambda: total(ct.map(add, numbers(4), z=1)), 10),
        (lambda: ct.map(add, numbers(4))[2] + 5, 7),
        (lambda: ct.map(add, ct.map(add, [1, 2], z=1), z=1), [3, 4]),
        (lambda: ct.map(add, []), []),
    ],
)
def test_what_it_gives(run: Run, workflow: Callable[[], Any], expected: Any) -> None:
    assert value(run(workflow)) == expected


def test_it_has_a_child_for_each_item(run: Run) -> None:
    result = run(lambda: ct.map(add, numbers(5)))

    node = next(n for n in result.get_all_node_results() if n["node_name"] == "map(add)")
    inner = node["sublattice_result"]
    names = [n["node_name"] for n in inner.get_all_node_results() if n["node_name"][0] != ":"]
    assert names == [f"add of item {number}" for number in range(5)]


def test_lengths_that_differ_are_seen_when_they_are_known(run: Run) -> None:
    result = run(lambda: ct.map(add, numbers(3), [1, 2]))

    assert result.status == "FAILED"
    assert "electron 'map(add)': one iterable is longer than another" in str(result.error)


@pytest.mark.parametrize(
    "wrong", [lambda: ct.map(add, [1], zzz=1), lambda: ct.map(add, [1], [2], [3], [4])]
)
def test_a_wrong_call_fails_where_it_stands(wrong: Any) -> None:
    with pytest.raises(WrongArguments, match="electron 'add'"):
        ct.dispatch(ct.lattice(wrong))()


def test_one_that_fails_names_itself_and_its_item(run: Run) -> None:
    result = run(lambda: ct.map(ct.electron(lambda x: 1 / x), [1, 0]))

    assert "<lambda> of item 1(2): ZeroDivisionError" in str(result.error)


def test_settings_and_replacements_reach_the_children() -> None:
    def note() -> str:
        return "noted"

    call = ct.DepsCall(note, retval_keyword="z")
    workflow = ct.lattice(lambda: ct.map(add, ["a"], ["b"]), call_before=call)
    first = ct.dispatch_sync(workflow)()
    assert value(first) == ["abnoted"]

    def instead(x: str, y: str, z: str = "") -> str:
        return z + x + y

    again = ct.redispatch(first.dispatch_id, replace_electrons={"add": instead})()
    assert value(ct.get_result(again, wait=True)) == ["notedab"]
