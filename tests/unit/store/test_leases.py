"""Who may change a dispatch, where engines share a database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qcov.errors import EngineStopped, LeaseLost, QcovError, StoreError
from qcov.store.changes import Changes
from qcov.store.leases import Leases
from qcov.store.store import Store

pytestmark = pytest.mark.services

Rows = Callable[..., Changes]

TRIGGER = {
    "id": "t", "dispatch_id": "d", "name": "t", "object": "", "object_seal": "",
    "environment": "{}", "status": "ACTIVE", "error": None, "created": 1.0,
}  # fmt: skip
NODE = {"of_dispatch": "d", "of_node": 0, "of_attempt": 1}


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.fixture
def other(store: Store, tmp_path: Path, database_url: str) -> Iterator[Store]:
    """Another engine's, with the same key."""
    key = store.folder / "seal.key"
    other = Store(tmp_path / "other", url=database_url, seal_key=key)
    yield other
    other.close()


def put(store: Store, changes: Changes) -> QcovError | None:
    told: list[QcovError | None] = []
    done = threading.Event()
    store.put(changes, lambda error: (told.append(error), done.set()))
    assert done.wait(20)
    return told[0]


def leases(store: Store) -> Leases:
    assert store.leases is not None
    return store.leases


def take(store: Store, **which: Any) -> list[Any]:
    lapsed = leases(store).lapsed(**which)
    return leases(store).take([row["root_id"] for row in lapsed], own=which.get("own", False))


def lapse(store: Store, table: str = "dispatches") -> None:
    """The time of all leases passes."""
    with store._database.writing.begin() as connection:
        connection.execute(sa.text(f"UPDATE {table} SET lease_ends = 0"))


def status(value: str) -> Changes:
    return {"node_status": [NODE | {"new_status": value}]}


def printed(store: Store) -> Changes:
    """A change that does not touch the dispatch's own rows."""
    return {"node_printed": [NODE | {"new_stdout": "late", "new_stderr": ""}]}


def test_a_dispatch_is_its_engines_while_the_lease_lasts(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    assert put(store, dispatch_rows()) is None

    assert take(other) == []
    assert put(store, status("RUNNING")) is None
    assert isinstance(put(other, status("FAILED")), LeaseLost)
    assert store.get_nodes("d")[0]["status"] == "RUNNING"


@pytest.mark.parametrize("late", [lambda _: status("COMPLETED"), printed])
def test_what_an_engine_writes_that_was_replaced_changes_nothing(
    store: Store, other: Store, dispatch_rows: Rows, late: Callable[[Store], Changes]
) -> None:
    put(store, dispatch_rows())
    lapse(store)
    [taken] = take(other)
    assert (taken["id"], taken["epoch"]) == ("d", 2)
    before = store.get_nodes("d")

    refused = put(store, late(store))
    assert isinstance(refused, LeaseLost)
    assert refused.dispatches == ("d",)
    assert store.get_nodes("d") == before
    assert put(other, status("COMPLETED")) is None


def test_what_an_engine_knows_nothing_of_is_not_renewed_and_taken_again(
    store: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    leases(store).forget("d")  # it was told that the commit had failed
    lapse(store)

    assert leases(store).renew() == set()
    assert [(row["id"], row["epoch"]) for row in take(store)] == [("d", 2)]
    assert take(store) == []


def test_what_was_queued_under_an_earlier_epoch_is_refused_too(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    begun, go_on = threading.Event(), threading.Event()
    store.put({}, lambda _: (begun.set(), go_on.wait(20)))
    assert begun.wait(20)
    told: list[QcovError | None] = []
    store.put(status("COMPLETED"), told.append)
    for each in (other, store):  # taken from it, and by it again
        lapse(store)
        for lost in leases(each).renew():
            leases(each).forget(lost)
        assert [row["id"] for row in take(each)] == ["d"]
    go_on.set()

    assert put(store, status("FAILED")) is None
    assert isinstance(told[0], LeaseLost)
    assert store.get_nodes("d")[0]["status"] == "FAILED"


def test_one_lost_dispatch_does_not_spoil_the_others_of_its_group(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d"))
    lapse(store)
    take(other)
    told: dict[str, QcovError | None] = {}
    begun, go_on = threading.Event(), threading.Event()
    store.put({}, lambda _: (begun.set(), go_on.wait(20)))
    assert begun.wait(20)
    store.put(dispatch_rows("new"), lambda error: told.update(new=error))
    store.put(status("FAILED"), lambda error: told.update(late=error))
    row = {"of_dispatch": "new", "new_status": "RUNNING"}
    store.put({"dispatch_status": [row]}, lambda error: told.update(same=error))
    go_on.set()
    put(store, {})

    assert (told["new"], told["same"]) == (None, None)
    assert isinstance(told["late"], LeaseLost)
    assert store.get_nodes("d")[0]["status"] == "RUNNING"


def test_renewing_keeps_what_is_held_and_tells_what_is_lost(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d"))
    put(store, dispatch_rows("mine"))
    put(store, dispatch_rows("over", status="COMPLETED"))
    lapse(store)
    assert leases(store).renew() == set()
    assert take(other) == []
    with store._database.writing.begin() as connection:
        connection.execute(sa.text("UPDATE dispatches SET lease_ends = 0 WHERE id = 'd'"))
    assert [row["id"] for row in take(other)] == ["d"]

    assert leases(store).renew() == {"d"}
    assert leases(other).renew() == set()


def test_an_engine_does_not_take_over_what_it_runs(store: Store, dispatch_rows: Rows) -> None:
    put(store, dispatch_rows())
    lapse(store)  # between two beats, say, of an engine whose database is slow

    assert take(store) == []
    assert leases(store).take(["d"], own=True) == []  # it was found before it was put in
    assert leases(store).renew() == set()


def test_an_engine_does_not_take_over_what_it_watches(store: Store, other: Store) -> None:
    put(store, {"trigger": [TRIGGER]})
    lapse(store, "triggers")

    assert leases(store).take_triggers(but={"t"}) == []
    assert [row["id"] for row in leases(other).take_triggers()] == ["t"]


def test_a_family_is_taken_as_a_whole(store: Store, other: Store, dispatch_rows: Rows) -> None:
    put(store, dispatch_rows("d"))
    put(store, dispatch_rows("child", parent_id="d", parent_node=0, root_id="d", created=2.0))
    put(store, dispatch_rows("stored", status="NEW_OBJECT"))
    lapse(store)

    assert [row["id"] for row in take(other)] == ["d", "child"]
    assert take(store) == []


def child_of(parent: str, name: str, rows: Rows) -> Changes:
    return rows(name, parent_id=parent, parent_node=0, root_id="d", created=2.0)


def test_a_family_is_taken_with_its_newest_member(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d"))
    lapse(store)
    put(store, child_of("d", "child", dispatch_rows))  # its own lease has just begun

    assert [row["id"] for row in take(other)] == ["d", "child"]


def test_a_root_that_was_taken_gets_no_more_children(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d"))
    put(store, child_of("d", "child", dispatch_rows))
    lapse(store)
    take(other)

    refused = put(store, child_of("child", "late", dispatch_rows))
    assert isinstance(refused, LeaseLost)
    assert refused.dispatches == ("d",)
    assert put(other, child_of("child", "new", dispatch_rows)) is None


def test_a_family_that_is_being_written_to_is_left_for_the_next_time(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d"))
    put(store, child_of("d", "child", dispatch_rows))
    lapse(store)
    with store._database.writing.begin() as connection:
        lock = "SELECT 1 FROM dispatches WHERE id = 'child' FOR NO KEY UPDATE"
        connection.execute(sa.text(lock))
        assert take(other) == []

    assert [row["id"] for row in take(other)] == ["d", "child"]


def test_a_sublattice_whose_root_has_ended_is_taken_too(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d", status="FAILED"))
    put(store, child_of("d", "child", dispatch_rows))
    lapse(store)

    assert [row["id"] for row in take(other)] == ["child"]
    assert put(other, child_of("child", "new", dispatch_rows)) is None


def test_an_engine_of_the_same_folder_does_not_wait_for_the_lease(
    store: Store, other: Store, open_store: Callable[[], Store], dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    again = open_store()

    assert take(other, own=True) == []
    assert [row["epoch"] for row in take(again, own=True)] == [2]
    assert isinstance(put(store, status("FAILED")), LeaseLost)
    again.close()


def test_what_is_given_back_is_free(store: Store, other: Store, dispatch_rows: Rows) -> None:
    put(store, dispatch_rows())
    store.close()

    assert [row["id"] for row in take(other)] == ["d"]


def test_what_cannot_run_somewhere_is_left_out(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    lapse(store)

    assert take(other, but={"d"}) == []
    assert [row["id"] for row in take(other)] == ["d"]


def test_one_engine_starts_what_was_stored(store: Store, other: Store, dispatch_rows: Rows) -> None:
    put(store, dispatch_rows(status="NEW_OBJECT"))

    assert [leases(each).take_held("d") for each in (other, store)] == [True, False]
    assert put(other, {"dispatch_status": [{"of_dispatch": "d", "new_status": "RUNNING"}]}) is None


def test_requests_to_cancel_reach_the_owner(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    assert leases(other).ask_to_cancel("d", [0])
    assert not leases(other).ask_to_cancel("d", None)

    assert leases(other).to_cancel() == {}
    assert leases(store).to_cancel() == {"d": "[0]"}
    heeded = {"cancel_heeded": [{"of_dispatch": "d", "of_request": "[0]"}]}
    assert put(store, heeded) is None
    assert leases(store).to_cancel() == {}

    assert leases(other).ask_to_cancel("d", None)
    assert put(store, heeded) is None  # what was heeded twice does not take away what came since
    assert leases(store).to_cancel() == {"d": "null"}


def test_a_key_belongs_to_one_dispatch_of_all_engines(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    assert put(store, dispatch_rows("a", key="k")) is None

    assert isinstance(put(other, dispatch_rows("b", key="k")), StoreError)


def test_only_the_engine_that_watches_a_trigger_knows_that_it_has_failed(
    store: Store, other: Store
) -> None:
    put(store, {"trigger": [TRIGGER]})
    lapse(store, "triggers")
    leases(other).take_triggers()

    ended = {"of_trigger": "t", "new_status": "FAILED", "new_error": "late"}
    assert put(store, {"trigger_ended": [ended]}) is None
    assert leases(other).own_triggers() == {"t"}
    assert put(store, {"trigger_ended": [ended | {"new_status": "STOPPED"}]}) is None
    assert leases(other).own_triggers() == set()


def test_what_has_ended_long_ago_is_not_looked_at_again_and_again(
    store: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    with store._database.writing.begin() as connection:
        columns = "name, root_id, created, inputs_repr, manifest, manifest_seal, nodes_total"
        connection.execute(
            sa.text(
                f"INSERT INTO dispatches (id, status, {columns}) SELECT 'over' || number, "
                f"'COMPLETED', {columns} FROM dispatches, generate_series(1, 20000) number"
            )
        )
        connection.execute(sa.text("ANALYZE dispatches"))
    plans: list[str] = []

    def explain(connection: sa.Connection, statement: Any, *_: Any) -> None:
        if not isinstance(statement, sa.TextClause):
            text = statement.compile(connection, compile_kwargs={"render_postcompile": True})
            found = connection.exec_driver_sql(f"EXPLAIN {text}", text.params)
            plans.append("\n".join(found.scalars()))

    sa.event.listen(store._database.writing, "before_execute", explain)
    held = leases(store)
    held.renew(), held.lapsed(), held.take(["d"]), held.to_cancel(), held.others_run()
    assert len(plans) >= 6
    assert not [plan for plan in plans if "Seq Scan on dispatches" in plan]


def test_what_was_given_back_at_the_end_is_not_renewed_after_it(
    store: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows())
    leases(store).give_back()

    for late in (leases(store).renew, lambda: leases(store).take(["d"])):
        with pytest.raises(EngineStopped):
            late()
    query = sa.text("SELECT owner FROM dispatches")
    with store._database.reading.connect() as connection:
        assert connection.scalar(query) is None


def test_what_nobody_runs_is_found_with_what_is_known_of_it(
    store: Store, other: Store, dispatch_rows: Rows
) -> None:
    put(store, dispatch_rows("d"))
    put(store, child_of("d", "child", dispatch_rows))
    leases(store).give_back(["d"])
    leases(other).note("d", "no such folder")
    assert leases(other).ask_to_cancel("child", None)

    [found] = leases(other).lapsed()
    assert found.pop("waits") < 60
    assert found == {"root_id": "d", "owner": None, "error": "no such folder", "cancel": False}
    assert leases(other).lapsed(but=["d"]) == []
    assert leases(other).ask_to_cancel("d", None)
    assert [row["cancel"] for row in leases(other).lapsed(but=["d"])] == [True]
    assert [row["error"] for row in take(other)] == [None, None]
