"""The engine with its store on PostgreSQL: as on SQLite, and several engines with one store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa

import qcov as ct
from qcov.classical.engine.client import call, connect
from qcov.classical.engine.engine import Engine
from qcov.classical.status import Status
from qcov.classical.triggers import TimeTrigger
from qcov.errors import EnvironmentMismatch, NodeNotFound, StoreUnavailable
from qcov.store.store import Store
from tests.services.postgresql import Server
from tests.waiting import ended, until

pytestmark = pytest.mark.services

Process = Callable[[Path], psutil.Process]

LEASE = 60.0


@ct.electron
def add(x: int, y: int) -> int:
    return x + y


@ct.electron
def boom() -> None:
    raise ValueError("boom")


@ct.electron
@ct.lattice
def inner(n: int) -> int:
    return add(n, 1)


@pytest.fixture(autouse=True)
def url(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """All engines of a test share this database, their payloads and the key that seals them."""
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", postgresql_url)
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_BASE_DIR", str(tmp_path / "payloads"))
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_SEAL_KEY", str(tmp_path / "seal.key"))
    monkeypatch.setenv("QCOV_ENGINE_LEASE", str(LEASE))
    return postgresql_url


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of two engines is to be replaced soon, and not because the machine is busy."""
    monkeypatch.setenv("QCOV_ENGINE_LEASE", "4")


@pytest.fixture
def shorter_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other engine starts when the first one has died."""
    monkeypatch.setenv("QCOV_ENGINE_LEASE", "2")


@pytest.fixture
def at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_engine: Callable[[Path], None]
) -> Iterator[Callable[[str], Path]]:
    """Speak to the engine of this name from now on."""
    folders: list[Path] = []

    def at(name: str) -> Path:
        folders.append(tmp_path / name)
        monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path / name))
        return tmp_path / name

    yield at
    for folder in folders:
        stop_engine(folder)


@pytest.fixture
def held(gate: Any, counter: Any) -> ct.Lattice:
    """Some electrons that end, one that waits for the test, and one that waits for it."""
    note, _ = counter

    @ct.electron
    def quick(number: int, _after: object = None) -> int:
        note(f"quick-{number}")
        return number

    @ct.electron
    def waiting(_after: object) -> str:
        note("waiting")
        gate.pass_through("begun")
        return "waited"

    def workflow() -> Any:
        before = [quick(number) for number in range(5)]
        middle = waiting(before)
        return [before, middle, quick(9, middle)]

    return ct.lattice(workflow)


EXPECTED = [list(range(5)), "waited", 9]
ONCE = [*(f"quick-{number}" for number in range(5)), "quick-9"]


def rows(url: str, query: str) -> list[Any]:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        found = list(connection.execute(sa.text(query)))
    engine.dispose()
    return found


def execute(url: str, statement: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def die(process: psutil.Process) -> None:
    process.kill()
    until(lambda: ended(process))


# -- one engine


def test_dispatches_run_and_fail_and_run_again(run: Any) -> None:
    def workflow(n: int) -> Any:
        return [add(inner(n), 2), "x" * 100_000]

    result = run(workflow, 1)
    assert (result.status, result.result) == ("COMPLETED", [4, "x" * 100_000])
    again = ct.get_result(ct.redispatch(result.dispatch_id)(5), wait=True, timeout=60)
    assert again.result == [8, "x" * 100_000]
    failed = run(boom)
    assert failed.status == "FAILED"
    assert "boom" in str(failed.error)
    listed = call("dispatches", root_only=True)
    assert listed["total"] == 3


def test_equal_calls_run_once(counter: Any, run: Any) -> None:
    note, lines = counter

    @ct.electron(cache=True)
    def square(x: int) -> int:
        note("ran")
        return x * x

    assert [run(lambda: square(3)).result for _ in range(2)] == [9, 9]
    assert lines() == ["ran"]


def test_triggers_start_dispatches() -> None:
    trigger = TimeTrigger(0.1)
    dispatch_id = ct.dispatch(ct.lattice(add, triggers=[trigger]))(1, 2)

    until(lambda: len(trigger.new_dispatch_ids) >= 2)
    ct.stop_triggers(dispatch_id)
    ids = trigger.new_dispatch_ids
    assert {ct.get_result(each, wait=True, timeout=60).result for each in ids} == {3}


def test_old_dispatches_are_pruned(url: str, run: Any) -> None:
    assert run(lambda: add(1, 2)).result == 3
    removed = call("prune", ended_before=time.time() + 1)

    assert removed["dispatches"] == 1
    assert rows(url, "SELECT 1 FROM dispatches UNION ALL SELECT 1 FROM nodes") == []
    assert rows(url, "SELECT 1 FROM blobs") == []


def test_an_engine_that_was_killed_goes_on_at_once(
    held: ct.Lattice, gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    die(engine_process(data_folder))

    assert ct.get_result(dispatch_id).status == "RUNNING"
    gate.wait()
    gate.let_go()

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == EXPECTED
    assert sorted(counter[1]()) == sorted([*ONCE, "waiting", "waiting"])


def test_a_server_that_is_restarted_loses_nothing(
    held: ct.Lattice, gate: Any, counter: Any, postgresql_server: Server
) -> None:
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    postgresql_server.stop()
    try:
        gate.let_go()
    finally:
        postgresql_server.start()

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == EXPECTED
    assert sorted(counter[1]()) == sorted([*ONCE, "waiting"])


@contextlib.contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Whoever reads or writes this table waits."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


def waits_for(url: str, table: str) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE"
    return bool(rows(url, f"{query} '%{table}%' AND application_name LIKE 'qcov %'"))


def test_a_server_that_dies_while_an_electron_is_to_start_loses_nothing(
    gate: Any, url: str, postgresql_server: Server
) -> None:
    @ct.electron
    def first() -> int:
        gate.pass_through("begun")
        return 1

    kept = ct.electron(add.function, cache=True)
    dispatch_id = ct.dispatch(ct.lattice(lambda: kept(first(), 1)))()
    gate.wait()
    with contextlib.suppress(sa.exc.OperationalError), locked(url, "memo"):
        gate.let_go()
        until(lambda: waits_for(url, "memo"))  # its outcome is stored; may the next one be known?
        assert call("ping")["pid"]
        postgresql_server.stop()
    postgresql_server.start()

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 2


def test_a_server_that_is_away_is_an_error_that_says_so(
    at: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("a")
    away = url.replace("postgres@127.0.0.1", "postgres:secret@127.0.0.1").rpartition(":")[0]
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", f"{away}:1/test")

    with pytest.raises(StoreUnavailable, match=r"postgres:\*\*\*@127.0.0.1:1/test") as caught:
        ct.dispatch(ct.lattice(add))(1, 2)
    assert "secret" not in str(caught.value)
    assert "secret" not in (Path(os.environ["QCOV_DATA_DIR"]) / "engine.log").read_text()


# -- two engines


def test_each_engine_sees_what_the_other_runs(held: ct.Lattice, gate: Any, at: Any) -> None:
    at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    at("b")
    assert ct.get_result(dispatch_id).status == "RUNNING"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ct.get_result, dispatch_id, wait=True, timeout=60)
        gate.let_go()
        assert waiting.result().result == EXPECTED


def test_a_page_of_one_server_follows_what_the_other_runs(
    held: ct.Lattice, gate: Any, at: Any
) -> None:
    folder = at("b")
    with contextlib.closing(connect(start=True)) as client:
        url = client.call("serve", host="localhost", port=0)["url"]
    headers = {"authorization": f"Bearer {(folder / 'server.token').read_text()}"}
    told: list[tuple[str, int | None, str]] = []

    def read() -> None:
        events = httpx.stream("GET", f"{url}/api/v1/events", headers=headers, timeout=60)
        ends = contextlib.suppress(httpx.RemoteProtocolError)  # with the engine
        with ends, events as answer:
            began.set()
            for line in answer.iter_lines():
                if line.startswith("data: ["):
                    told.extend(
                        (one["dispatch"], one["node"], one["status"])
                        for one in json.loads(line.removeprefix("data: "))
                    )

    began = threading.Event()
    threading.Thread(target=read, daemon=True).start()
    assert began.wait(60)
    at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    until(lambda: (dispatch_id, None, "RUNNING") in told)
    gate.let_go()
    until(lambda: (dispatch_id, None, "COMPLETED") in told)

    of_first = {status for _, node, status in told if node == 0}
    assert of_first - {"RUNNING"} == {"COMPLETED"}  # one that takes a moment is told of before
    assert len(told) == len(set(told))  # nothing is told twice
    quick = ct.dispatch_sync(ct.lattice(lambda: 5))().dispatch_id
    until(lambda: (quick, None, "COMPLETED") in told)


def test_the_other_engine_cancels(held: ct.Lattice, gate: Any, at: Any) -> None:
    at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    at("b")
    with pytest.raises(NodeNotFound):
        ct.cancel(dispatch_id, [77])
    nothing = f"Nothing of dispatch {dispatch_id} was cancelled: node 0 had ended."
    assert ct.cancel(dispatch_id, [0]) == nothing

    assert ct.cancel(dispatch_id) == f"Dispatch {dispatch_id} cancelled."
    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == "CANCELLED"


def test_a_key_holds_for_all_engines(at: Any, url: str) -> None:
    workflow = ct.lattice(add)
    at("a")
    first = ct.dispatch(workflow, key="k")(1, 2)
    at("b")
    assert ct.dispatch(workflow, key="k")(1, 2) == first
    assert rows(url, "SELECT count(*) FROM dispatches") == [(1,)]


def test_what_was_only_stored_is_started_by_one_of_them(at: Any, url: str) -> None:
    at("a")
    dispatch_id = ct.dispatch(ct.lattice(add), disable_run=True)(1, 2)
    at("b")
    call("start", dispatch_id=dispatch_id, variables={})
    at("a")
    call("start", dispatch_id=dispatch_id, variables={})

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 3
    assert rows(url, "SELECT epoch FROM dispatches") == [(2,)]


def test_what_is_started_in_vain_can_be_started_elsewhere(
    at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("a")
    with somewhere(tmp_path, monkeypatch) as folder:
        dispatch_id = ct.dispatch(ct.lattice(add), disable_run=True)(1, 2)
    with pytest.raises(EnvironmentMismatch):
        call("start", dispatch_id=dispatch_id, variables={})
    folder.mkdir()
    at("b")
    call("start", dispatch_id=dispatch_id, variables={})

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == 3


def test_what_was_only_stored_is_cancelled_where_it_cannot_run(
    at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("a")
    with somewhere(tmp_path, monkeypatch):
        dispatch_id = ct.dispatch(ct.lattice(add), disable_run=True)(1, 2)

    assert ct.cancel(dispatch_id) == f"Dispatch {dispatch_id} cancelled."
    assert ct.get_result(dispatch_id).status == "CANCELLED"


@contextlib.contextmanager
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to dispatch from; without it the dispatch cannot run."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    with monkeypatch.context() as moved:
        moved.chdir(folder)
        yield folder
    folder.rmdir()


@pytest.fixture
def nobodys(
    shorter_lease: None, gate: Any, at: Any, url: str, engine_process: Process, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:  # fmt: skip
    """A dispatch whose engine has died, and that the other one cannot run."""
    first = at("a")
    with somewhere(tmp_path, monkeypatch):

        @ct.electron
        def waiting() -> int:
            gate.pass_through("begun")
            return 3

        dispatch_id = ct.dispatch(ct.lattice(lambda: add(waiting(), 1)))()
        gate.wait()
        die(engine_process(first))
    at("b")
    connect(start=True)
    until(lambda: rows(url, "SELECT 1 FROM dispatches WHERE error IS NOT NULL"))
    return dispatch_id


def test_what_nobody_can_run_says_why_and_is_run_when_it_can_be(
    nobodys: str, gate: Any, tmp_path: Path, url: str
) -> None:
    assert "somewhere does not exist" in str(rows(url, "SELECT error FROM dispatches"))
    (tmp_path / "somewhere").mkdir()
    gate.wait()
    assert rows(url, "SELECT error FROM dispatches") == [(None,)]
    gate.let_go()

    assert ct.get_result(nobodys, wait=True, timeout=60).result == 4


def test_what_nobody_can_run_is_cancelled_by_anybody(nobodys: str, url: str) -> None:
    assert ct.cancel(nobodys) == f"Dispatch {nobodys} cancelled."
    assert ct.get_result(nobodys).status == "CANCELLED"
    assert {row[0] for row in rows(url, "SELECT status FROM nodes")} <= {"CANCELLED", "COMPLETED"}
    assert ct.dispatch_sync(ct.lattice(add))(1, 2).result == 3


def test_what_nobody_can_run_for_long_fails(
    nobodys: str, at: Any, tmp_path: Path, url: str
) -> None:
    async def look_on() -> None:  # an engine, with the patience of many leases
        key, payloads = tmp_path / "seal.key", str(tmp_path / "payloads")
        store = Store(at("c"), url=url, payloads=payloads, seal_key=key, lease=0.02)
        engine = Engine(store, workers=1)
        engine.recover()
        async with asyncio.timeout(60):
            while not Status(await asyncio.to_thread(store.status, nobodys)).terminal:
                await asyncio.sleep(0.02)
        engine.close()
        await asyncio.to_thread(store.close)

    asyncio.run(look_on())

    result = ct.get_result(nobodys, wait=True, timeout=60)
    assert result.status == "FAILED"
    assert "EnvironmentMismatch" in str(result.error)


@pytest.mark.usefixtures("shorter_lease")
def test_what_is_taken_over_while_the_server_dies_is_taken_over_later(
    held: ct.Lattice, gate: Any, at: Any, url: str, engine_process: Process,
    postgresql_server: Server,
) -> None:  # fmt: skip
    first = at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    die(engine_process(first))
    at("b")
    with contextlib.suppress(sa.exc.OperationalError), locked(url, "nodes"):
        connect(start=True)
        until(lambda: waits_for(url, "nodes"))
        postgresql_server.stop()
    postgresql_server.start()

    gate.wait()
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == EXPECTED


def test_waiting_at_the_other_engine_outlives_the_servers_absence(
    held: ct.Lattice, gate: Any, at: Any, postgresql_server: Server
) -> None:
    at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    folder = at("b")
    connect(start=True)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ct.get_result, dispatch_id, wait=True, timeout=60)
        postgresql_server.stop()
        try:
            until(lambda: "could not be renewed" in (folder / "engine.log").read_text())
            with pytest.raises(StoreUnavailable):
                ct.get_result(dispatch_id, wait=True, timeout=0.1)
        finally:
            postgresql_server.start()
        gate.let_go()
        assert waiting.result().result == EXPECTED


def test_an_engine_answers_while_the_database_is_slow(url: str) -> None:
    dispatch_id = ct.dispatch_sync(ct.lattice(add))(1, 2).dispatch_id
    with ThreadPoolExecutor() as pool:
        with locked(url, "dispatches"):
            asked = [
                pool.submit(call, verb, dispatch_id=dispatch_id)
                for verb in ("outcome", "dispatch", "progress", "cancel")
            ]
            until(lambda: waits_for(url, "dispatches"))
            assert call("ping")["pid"]
            assert not any(each.done() for each in asked)
        assert asked[0].result()["dispatch"]["status"] == "COMPLETED"


def test_what_the_store_refuses_fails_its_dispatch_and_nothing_else(
    url: str, engine_process: Process, data_folder: Path, counter: Any
) -> None:
    note, lines = counter

    @ct.electron
    def refused() -> str:
        note("ran")
        return "a value that the store refuses"

    connect(start=True)
    engine = engine_process(data_folder)
    execute(url, "ALTER TABLE nodes ADD CHECK (value_repr NOT LIKE '%refuses%')")

    result = ct.dispatch_sync(ct.lattice(refused))()
    assert result.status == "FAILED"
    assert "StoreError" in str(result.error)
    assert lines() == ["ran", "ran"]
    assert ct.dispatch_sync(ct.lattice(add))(1, 2).result == 3
    assert engine.is_running()


@pytest.mark.usefixtures("short_lease")
def test_an_engine_that_dies_is_replaced_by_the_other(
    held: ct.Lattice, gate: Any, counter: Any, at: Any, url: str, engine_process: Process
) -> None:
    first = at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    at("b")
    connect(start=True)
    die(engine_process(first))

    gate.wait()  # the other one's
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == EXPECTED
    assert sorted(counter[1]()) == sorted([*ONCE, "waiting", "waiting"])
    assert rows(url, "SELECT DISTINCT epoch FROM dispatches") == [(2,)]


@pytest.mark.usefixtures("short_lease")
def test_triggers_of_an_engine_that_dies_go_on_at_the_other(
    at: Any, engine_process: Process, url: str
) -> None:
    first = at("a")
    dispatch_id = ct.dispatch(ct.lattice(add, triggers=[TimeTrigger(0.2)]))(1, 2)
    fired = "SELECT dispatch_id FROM trigger_dispatches"
    until(lambda: rows(url, fired))
    at("b")
    connect(start=True)
    die(engine_process(first))
    before = {row[0] for row in rows(url, fired)}

    new = until(lambda: {row[0] for row in rows(url, fired)} - before)
    ct.stop_triggers(dispatch_id)
    assert {ct.get_result(each, wait=True, timeout=60).result for each in new} == {3}
    owners = dict(tuple(row) for row in rows(url, "SELECT id, owner FROM dispatches"))
    assert {(owners[each],) for each in new} == set(rows(url, "SELECT owner FROM triggers"))


def test_an_engine_that_is_stopped_leaves_its_dispatches_to_the_other(
    held: ct.Lattice, gate: Any, at: Any, stop_engine: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("QCOV_ENGINE_LEASE", "3600")
    first = at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    at("b")
    connect(start=True)
    stop_engine(first)

    gate.wait()
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == EXPECTED


@pytest.mark.usefixtures("short_lease")
def test_what_a_paused_engine_writes_after_its_lease_is_kept_out(
    held: ct.Lattice, gate: Any, counter: Any, at: Any, url: str, engine_process: Process
) -> None:
    first = at("a")
    dispatch_id = ct.dispatch(held)()
    gate.wait()
    running = "SELECT started FROM nodes WHERE status = 'RUNNING'"
    its = until(lambda: rows(url, running))  # what runs is written a moment after it has begun
    paused = engine_process(first)
    paused.send_signal(signal.SIGSTOP)
    try:
        gate.let_go()  # its electron ends, and its outcome waits in the engine's socket
        at("b")
        connect(start=True)
        gate.wait()  # the other one's
        until(lambda: rows(url, running) not in ([], its))
        query = "SELECT * FROM nodes ORDER BY node_id"
        before = rows(url, query)
        [(owner, epoch)] = rows(url, "SELECT owner, epoch FROM dispatches")
    finally:
        paused.send_signal(signal.SIGCONT)
    at("a")
    assert call("dispatch", dispatch_id=dispatch_id)["epoch"] == 2  # it answers again
    assert rows(url, query) == before
    assert rows(url, "SELECT owner, epoch FROM dispatches") == [(owner, epoch)]

    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == EXPECTED
    assert sorted(counter[1]()) == sorted([*ONCE, "waiting", "waiting"])
    assert paused.is_running()
    assert ct.dispatch_sync(ct.lattice(add))(1, 2).result == 3
