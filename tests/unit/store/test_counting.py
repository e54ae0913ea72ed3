"""What the page of executors reads of electrons."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qcov.errors import QcovError
from qcov.store import counting
from qcov.store.changes import Changes
from qcov.store.store import Store

Put = Callable[..., QcovError | None]
Rows = Callable[..., Changes]


def end(store: Store, put: Put, dispatch_id: str, status: str) -> None:
    new = dict.fromkeys(("new_error", "new_result", "new_result_seal", "new_result_repr"))
    about = {"of_dispatch": dispatch_id, "new_status": status, "new_ended": 9.0}
    assert put({"dispatch_ended": [new | about]}) is None


def test_what_never_began_does_not_wait_once_its_dispatch_has_ended(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    for dispatch_id in ("failed", "runs"):
        rows = dispatch_rows(dispatch_id, nodes=3)
        rows["node"] = [{**node, "status": "NEW_OBJECT"} for node in rows["node"]]
        put(rows)
    end(store, put, "failed", "FAILED")

    found = {row["status"]: row["count"] for row in store.electrons_by_executor(0.0)}
    assert found == {"NOT_RUN": 3, "NEW_OBJECT": 3}


def test_lengths_are_those_of_the_electrons_that_ended_last(
    store: Store, put: Put, dispatch_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_LATEST", 2)
    put(dispatch_rows("d", nodes=4))
    about = {"of_dispatch": "d", "of_attempt": 1, "new_status": "COMPLETED", "new_started": 0.0}
    empty = ("error", "output", "output_seal", "value_repr", "stdout", "stderr", "output_key")
    rest = dict.fromkeys(f"new_{name}" for name in (*empty, "reused_from"))
    for node, ended in enumerate((3.0, 1.0, 4.0, 2.0)):
        put({"node_finished": [{**rest, **about, "of_node": node, "new_ended": ended}]})

    assert store.electron_lengths(0.0) == [("local", 4.0), ("local", 3.0)]


def test_circuits_are_counted_by_dispatch(store: Store, put: Put, dispatch_rows: Rows) -> None:
    put(dispatch_rows("root"))
    put(dispatch_rows("child", root_id="root", parent_id="root", parent_node=0))
    put(dispatch_rows("none"))
    about = dict.fromkeys(("device", "execution_time", "structure"))
    rows = [
        {**about, "id": f"c{number}", "dispatch_id": dispatch_id, "node_id": 0, "executor": "e",
         "record": b"", "status": "COMPLETED"}
        for number, dispatch_id in enumerate(("root", "root", "child"))
    ]  # fmt: skip
    assert put({"circuit": rows}) is None

    found = store.circuits_by_dispatch({"root", "none"})
    assert sorted((row["root_id"], row["id"], row["count"]) for row in found) == [
        ("root", "child", 1), ("root", "root", 2),
    ]  # fmt: skip


def test_what_triggers_started_is_listed_alone_or_left_out(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows("mine"))
    put(dispatch_rows("nightly"))
    fired = {"trigger_id": "t", "dispatch_id": "nightly", "created": 1.0}
    assert put({"trigger_fired": [fired]}) is None

    for triggered, ids in ((True, ["nightly"]), (False, ["mine"])):
        rows, total = store.list_dispatches(triggered=triggered)
        assert ([row["id"] for row in rows], total) == (ids, 1)
    assert store.list_dispatches(limit=0, triggered=True) == ([], 1)
