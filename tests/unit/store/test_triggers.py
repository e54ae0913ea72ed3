"""What is stored of triggers: listed in windows, and forgotten with what they have started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qcov.errors import QcovError, TriggerNotFound
from qcov.store.changes import Changes
from qcov.store.pruning import unreferenced
from qcov.store.store import Store
from qcov.store.triggers import get_trigger, list_triggers, runs_of
from qcov.transport import address

Put = Callable[..., QcovError | None]
Rows = Callable[..., Changes]


def trigger(store: Store, number: int, **columns: Any) -> Changes:
    digest = address(b"trigger")
    row = {
        "id": f"t{number}", "dispatch_id": "d", "name": "TimeTrigger", "object": digest,
        "object_seal": store.seal(digest, f"t{number}", "trigger"), "environment": "{}",
        "status": "ACTIVE", "error": None, "created": float(number),
    }  # fmt: skip
    return {"trigger": [row | columns]}


def fired(trigger_id: str, dispatch_id: str, created: float) -> Changes:
    row = {"trigger_id": trigger_id, "dispatch_id": dispatch_id, "created": created}
    return {"trigger_fired": [row]}


def test_they_are_listed_in_windows(store: Store, put: Put) -> None:
    for number in range(3):
        assert put(trigger(store, number, status="ACTIVE" if number else "STOPPED")) is None
    for when, dispatch_id in ((5.0, "b"), (4.0, "a")):
        assert put(fired("t1", dispatch_id, when)) is None

    rows, total = list_triggers(store, limit=2, offset=1)
    assert [(row["id"], row["runs"], row["last_run"]) for row in rows] == [
        ("t1", 2, 5.0), ("t0", 0, None),
    ]  # fmt: skip
    assert total == 3
    assert [row["id"] for row in list_triggers(store, limit=9, status="ACTIVE")[0]] == ["t2", "t1"]
    assert list_triggers(store, limit=9, dispatch_id="other") == ([], 0)
    assert [run["dispatch_id"] for run in runs_of(store, "t1", limit=None)] == ["a", "b"]
    assert [run["dispatch_id"] for run in runs_of(store, "t1", limit=1, offset=1)] == ["b"]
    assert get_trigger(store, "t1")["runs"] == 2
    with pytest.raises(TriggerNotFound, match="no trigger 'none' in") as caught:
        get_trigger(store, "none")
    assert caught.value.where == store.where  # a database that others have too, perhaps


def test_one_that_has_failed_and_watches_again_says_so(store: Store, put: Put) -> None:
    put(trigger(store, 1))

    def note(status: str, error: str | None) -> tuple[str, str | None]:
        row = {"of_trigger": "t1", "new_status": status, "new_error": error}
        assert put({"trigger_ended": [row]}) is None
        found = get_trigger(store, "t1")
        return found["status"], found["error"]

    assert note("ACTIVE", "once") == ("ACTIVE", "once")
    assert note("STOPPED", None) == ("STOPPED", None)
    assert note("ACTIVE", "too late") == ("STOPPED", None)


def test_what_is_gone_is_forgotten(store: Store, put: Put, dispatch_rows: Rows) -> None:
    put(dispatch_rows("here"))
    put(trigger(store, 1))
    for dispatch_id, when in (("here", 1.0), ("gone", 2.0), ("young", 9.0)):
        put(fired("t1", dispatch_id, when))

    assert put({"fired_pruned": [{"of_time": 5.0}]}) is None

    assert [run["dispatch_id"] for run in runs_of(store, "t1", limit=None)] == ["here", "young"]


def test_a_graph_that_cannot_be_read_may_need_any_payload(
    store: Store, put: Put, dispatch_rows: Rows
) -> None:
    put(dispatch_rows("whole"))
    put({"blob": [store.blob_row(address(b"spare"), b"spare")]})
    assert unreferenced(store) == ([(address(b"spare"), 5)], [])

    put(dispatch_rows("damaged", manifest_seal="0" * 64))

    assert unreferenced(store) == ([], ["damaged"])
