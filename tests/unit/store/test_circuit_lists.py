"""Windows of a dispatch's circuits: every circuit once, in the order that was asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from qcov.errors import CircuitNotFound, DispatchNotFound
from qcov.store.changes import Changes
from qcov.store.circuits import Wanted, to_row, window
from qcov.store.store import Store
from tests.unit.store.conftest import Put

Rows = Callable[..., Changes]

TIMES = (0.3, 0.1, 0.3, 0.2, 0.3, 0.1, 0.5)  # some take equally long


def record(number: int) -> dict[str, Any]:
    return {
        "id": f"c{number}",
        "qelectron": "circuit",
        "executor": "IBMQ" if number % 3 == 0 else "Simulator",
        "device": None,
        "execution_time": TIMES[number],
        "structure": "s" * 32,
        "structure_data": None,
        "error": "ValueError: no" if number in (1, 4) else None,
    }


@pytest.fixture
def circuits(put: Put, dispatch_rows: Rows) -> list[dict[str, Any]]:
    records = [record(number) for number in range(len(TIMES))]
    put(dispatch_rows(nodes=2))
    put(dispatch_rows("other"))
    mine = [to_row(each, "d", number % 2) for number, each in enumerate(records)]
    theirs = to_row(record(0) | {"id": "theirs"}, "other", 0)
    changes: Changes = {
        "structure": [{"key": "s" * 32, "text": "{}"}],
        "circuit": [theirs, *mine],
    }
    assert put(changes) is None
    return records


FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "a node": {"node_id": 1},
    "an executor": {"executor": "IBMQ"},
    "nothing": {"executor": "none"},
    "failed": {"status": "FAILED"},
    "completed": {"status": "COMPLETED"},
    "all three": {"node_id": 1, "executor": "Simulator", "status": "COMPLETED"},
    "failed, of a node": {"node_id": 0, "executor": "Simulator", "status": "FAILED"},
}


def expected(circuits: list[dict[str, Any]], wanted: Wanted) -> list[str]:
    found = [
        (each["execution_time"] if wanted.sort == "execution_time" else 0, number, each["id"])
        for number, each in enumerate(circuits)
        if wanted.node_id in (None, number % 2)
        and wanted.executor in (None, each["executor"])
        and wanted.status in (None, "FAILED" if each["error"] else "COMPLETED")
    ]
    return [name for _, _, name in sorted(found, reverse=wanted.descending)]


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("name", FILTERS)
def test_windows_have_every_circuit_once(
    store: Store, circuits: list[dict[str, Any]], name: str, size: int
) -> None:
    for sort, descending in itertools.product(("number", "execution_time"), (False, True)):
        wanted = Wanted(dispatch_id="d", sort=sort, descending=descending, **FILTERS[name])
        names = expected(circuits, wanted)
        assert store.count_circuits(wanted) == len(names)

        onwards: list[list[str]] = []
        rows = store.list_circuits(wanted, limit=size)
        last = rows
        while rows:
            onwards.append([row["id"] for row in rows])
            last = rows
            rows = store.list_circuits(wanted, limit=size, after=wanted.place(rows[-1]))
        assert list(itertools.chain(*onwards)) == names

        for earlier in reversed(onwards[:-1]):  # and back
            last = store.list_circuits(wanted, limit=size, before=wanted.place(last[0]))
            assert [row["id"] for row in last] == earlier


@pytest.mark.parametrize("name", FILTERS)
def test_few_and_many_are_found_alike(
    store: Store, circuits: list[dict[str, Any]], name: str
) -> None:
    for sort, descending in itertools.product(("number", "execution_time"), (False, True)):
        wanted = Wanted(dispatch_id="d", sort=sort, descending=descending, **FILTERS[name])
        few, many = (
            store.rows(window(wanted, limit=3, after=(0.3, 4), few=few)) for few in (True, False)
        )
        assert few == many


def test_one_circuit(store: Store, circuits: list[dict[str, Any]]) -> None:
    found = store.get_circuit("d", "c4")

    assert (found["error"], found["status"], found["node_id"]) == ("ValueError: no", "FAILED", 0)
    assert found["structure_data"] == "{}"
    assert store.get_structures(["s" * 32, "unknown"]) == {"s" * 32: "{}"}
    for stranger in ("theirs", "nothing"):
        with pytest.raises(CircuitNotFound, match=f"dispatch d has no circuit '{stranger}'"):
            store.get_circuit("d", stranger)
    with pytest.raises(DispatchNotFound):
        store.get_circuit("nothing", "c4")


def test_counts_by_node(store: Store, circuits: list[dict[str, Any]]) -> None:
    counted = store.circuits_by_node("d")

    assert [(row["node_id"], row["circuits"]) for row in counted] == [(0, 4), (1, 3)]
    assert store.circuits_by_node("nothing") == []
