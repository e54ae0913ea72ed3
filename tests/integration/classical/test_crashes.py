"""Whatever is killed, at any instant: what was acknowledged is there, and the rest goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.engine import client
from qcov.classical.manifest import build_manifest, code_of, environment
from qcov.errors import (
    EngineUnavailable,
    IntegrityError,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
)
from qcov.transport import address, dumps
from tests.waiting import ended, until

Process = Callable[[Path], psutil.Process]


@ct.electron
def same(x: Any) -> Any:
    return x


@pytest.fixture
def chain(gate: Any, counter: Any) -> ct.Lattice:
    """Twenty electrons that end, one that is held, and ten that wait for it."""
    note, _ = counter

    @ct.electron
    def quick(number: int, _after: object = None) -> int:
        note(f"quick-{number}")
        return number

    @ct.electron
    def held(_after: object) -> str:
        note("held")
        gate.pass_through("begun")
        return "held"

    def workflow() -> Any:
        before = [quick(number) for number in range(20)]
        middle = held(before)
        return [before, middle, [quick(number, middle) for number in range(20, 30)]]

    return ct.lattice(workflow)


EXPECTED = [list(range(20)), "held", list(range(20, 30))]


def die(process: psutil.Process) -> None:
    process.kill()
    until(lambda: ended(process))


def zygotes(engine: psutil.Process) -> list[psutil.Process]:
    return engine.children()


def test_a_killed_engine_goes_on_where_it_was(
    chain: ct.Lattice, gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    dispatch_id = ct.dispatch(chain)()
    gate.wait()
    engine = engine_process(data_folder)
    workers = engine.children(recursive=True)
    die(engine)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []

    assert ct.get_result(dispatch_id).status == "RUNNING"
    gate.wait()
    gate.let_go()
    result = ct.get_result(dispatch_id, wait=True)

    assert result.result == EXPECTED
    ran = counter[1]()
    assert sorted(ran) == sorted(["held", "held", *(f"quick-{number}" for number in range(30))])
    assert {str(node["status"]) for node in result.get_all_node_results()} == {"COMPLETED"}


def test_what_is_taken_over_is_taken_over_by_the_next_engine_too(
    gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    note, lines = counter

    @ct.electron
    def load(x: int) -> list[Any]:
        note("load")
        return [x, {1, 2}]

    @ct.electron
    def middle(x: list[Any]) -> int:
        return 1

    @ct.electron
    def last(x: list[int], _after: int) -> int:
        note("last")
        return x[0]

    @ct.electron
    def held(x: list[int]) -> int:
        gate.pass_through("begun")
        return 1

    @ct.lattice
    def workflow(x: int) -> int:
        loaded = load(x)
        return last(loaded, middle(loaded))

    first = ct.dispatch_sync(workflow)(3).dispatch_id
    again = ct.redispatch(first, replace_electrons={"middle": held}, reuse_previous_results=True)()
    gate.wait()
    die(engine_process(data_folder))
    assert ct.get_result(again).status == "RUNNING"
    gate.wait()
    gate.let_go()
    result = ct.get_result(again, wait=True)

    assert result.result == 3
    came = {node["node_name"]: node["reused_from"] for node in result.get_all_node_results()}
    assert (came["load"], came["held"], came["last"]) == (first, None, first)
    assert lines() == ["load", "last"]


def test_what_electrons_have_started_ends_with_a_killed_engine(
    counter: Any, data_folder: Path, engine_process: Process
) -> None:
    note, lines = counter

    @ct.electron
    def work() -> None:
        sleeping = subprocess.Popen(["sleep", "1000"])
        note(str(sleeping.pid))
        sleeping.wait()

    ct.dispatch(ct.lattice(work))()
    while not lines():
        os.sched_yield()
    started = psutil.Process(int(lines()[0]))
    die(engine_process(data_folder))

    _, alive = psutil.wait_procs([started], timeout=60)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_who_waits_while_the_engine_is_killed_waits_on(
    chain: ct.Lattice, gate: Any, data_folder: Path, engine_process: Process
) -> None:
    dispatch_id = ct.dispatch(chain)()
    gate.wait()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: ct.get_result(dispatch_id, wait=True).result)
        die(engine_process(data_folder))
        gate.wait()
        gate.let_go()
        assert waiting.result(120) == EXPECTED


def test_who_dispatches_and_waits_while_the_engine_is_killed_dispatches_once(
    chain: ct.Lattice, gate: Any, data_folder: Path, engine_process: Process
) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: ct.dispatch_sync(chain)().result)
        gate.wait()
        die(engine_process(data_folder))
        gate.wait()
        gate.let_go()
        assert waiting.result(120) == EXPECTED
    assert len(ct.list_dispatches()) == 1


def test_a_request_that_comes_again_is_one_dispatch(data_folder: Path) -> None:
    manifest = build_manifest(ct.lattice(same), (1,), {})
    dispatch_id = str(uuid.uuid4())
    manifest |= {"id": dispatch_id, "environment": environment(code_of(manifest))}

    outcome = client.call("run", manifest=manifest, first=True)
    assert client.call("run", manifest=manifest) == outcome
    assert client.call("submit", manifest=manifest) == dispatch_id
    with pytest.raises(StoreError, match="UNIQUE"):  # it is not the first one
        client.call("run", manifest=manifest, first=True)
    assert client.call("outcome", dispatch_id=dispatch_id) == outcome
    assert len(ct.list_dispatches()) == 1


def test_a_result_that_was_waited_for_is_there_without_an_engine(
    data_folder: Path, stop_engine: Any
) -> None:
    waited = ct.dispatch_sync(ct.lattice(same))([1, 2])
    asked = ct.get_result(waited.dispatch_id, wait=True)
    stop_engine(data_folder)

    assert waited.result == asked.result == [1, 2]
    assert not (data_folder / "engine.json").exists()


def test_a_killed_zygote_takes_only_what_ran(
    gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    note, lines = counter

    @ct.electron(retries=1)
    def held(_after: int) -> str:
        note("held")
        gate.pass_through("begun")
        return "held"

    def workflow() -> Any:
        done = same(1)
        middle = held(done)
        return done, middle, same(middle)

    dispatch_id = ct.dispatch(ct.lattice(workflow))()
    gate.wait()
    for zygote in zygotes(engine_process(data_folder)):
        die(zygote)
    gate.wait()
    gate.let_go()

    assert ct.get_result(dispatch_id, wait=True).result == (1, "held", "held")
    assert lines() == ["held", "held"]
    assert ct.dispatch_sync(ct.lattice(same))(4).result == 4


def test_a_killed_worker_fails_its_electron_alone(
    gate: Any, counter: Any, data_folder: Path
) -> None:
    note, lines = counter

    @ct.electron
    def held() -> None:
        note(str(os.getpid()))
        gate.pass_through("begun")

    dispatch_id = ct.dispatch(ct.lattice(lambda: [held(), same(1)]))()
    gate.wait()
    os.kill(int(lines()[0]), signal.SIGKILL)
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == "FAILED"
    assert "held(0): WorkerLost" in str(result.error)
    assert result.get_node_result(1)["status"] == "COMPLETED"


def test_sublattices_go_on_after_a_crash(
    gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    """The child's result is the value of an electron that an earlier engine has run."""
    note, lines = counter

    @ct.electron
    def early() -> dict[str, int]:
        note("early")
        return {"a": 1}

    @ct.electron
    def held(_after: object) -> None:
        gate.pass_through("begun")

    def inner() -> Any:
        first = early()
        held(first)
        return first

    def workflow() -> Any:
        child = ct.electron(ct.lattice(inner))()
        return same(child), same(child["a"])

    dispatch_id = ct.dispatch(ct.lattice(workflow))()
    gate.wait()
    child = ct.get_result(dispatch_id).get_node_result(0)["sublattice_result"].dispatch_id
    die(engine_process(data_folder))
    assert ct.get_result(dispatch_id).status == "RUNNING"
    gate.wait()
    gate.let_go()
    result = ct.get_result(dispatch_id, wait=True)

    assert result.error is None
    assert result.result == ({"a": 1}, 1)
    assert lines() == ["early"]
    assert result.get_node_result(0)["sublattice_result"].dispatch_id == child


def test_what_a_sublattice_returns_whole_is_there_after_a_crash(
    gate: Any, data_folder: Path, engine_process: Process
) -> None:
    def inner() -> Any:
        first = same(41)
        ct.electron(gate.pass_through)()
        return first

    @ct.electron
    def add_one(value: int) -> int:
        return value + 1

    dispatch_id = ct.dispatch(ct.lattice(lambda: add_one(ct.electron(ct.lattice(inner))())))()
    gate.wait()
    while ct.get_result(dispatch_id).get_node_result(0) is None:
        os.sched_yield()
    die(engine_process(data_folder))
    assert ct.get_result(dispatch_id).status == "RUNNING"
    gate.wait()
    gate.let_go()
    result = ct.get_result(dispatch_id, wait=True)

    assert result.error is None
    assert result.result == 42


def test_a_sublattice_has_its_time_limit_after_a_crash(
    gate: Any, data_folder: Path, engine_process: Process
) -> None:
    ct.dispatch_sync(ct.lattice(same))(1)  # the first one waits for workers to start
    inner = ct.lattice(ct.electron(gate.pass_through))
    limited = ct.electron(inner, time_limit=8.0)
    dispatch_id = ct.dispatch(ct.lattice(lambda: limited()))()  # noqa: PLW0108
    gate.wait()
    die(engine_process(data_folder))

    result = ct.get_result(dispatch_id, wait=True, timeout=120)
    assert "time limit of 8 s" in str(result.error)


@pytest.mark.parametrize("what", ["dispatch", "node", "sublattice"])
def test_what_was_cancelled_stays_cancelled_after_a_crash(
    gate: Any, data_folder: Path, engine_process: Process, what: str, counter: Any
) -> None:
    """The engine dies when the wish is on disk and the electron has not stopped yet."""
    note, lines = counter

    @ct.electron
    def held() -> None:
        note("ran")
        gate.pass_through("begun")

    inner = ct.electron(ct.lattice(held))
    dispatch_id = ct.dispatch(ct.lattice(inner if what == "sublattice" else held))()
    gate.wait()
    # what runs is written a moment after it has begun
    until(lambda: ct.get_result(dispatch_id).get_node_result(0)["status"] == "RUNNING")
    die(engine_process(data_folder))
    statements = {
        "dispatch": "UPDATE dispatches SET status = 'CANCELING'",
        "node": "UPDATE nodes SET status = 'CANCELING' WHERE status = 'RUNNING'",
        "sublattice": "UPDATE nodes SET status = 'CANCELING' WHERE kind = 'sublattice'",
    }
    with sqlite3.connect(data_folder / "qcov.sqlite") as connection:
        assert connection.execute(statements[what]).rowcount == 1
    connection.close()

    result = ct.get_result(dispatch_id, wait=True)
    assert result.status == "CANCELLED"
    assert result.get_node_result(0)["status"] == "CANCELLED"
    assert lines() == ["ran"]


def test_retries_are_not_renewed_by_a_crash(
    gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    note, lines = counter

    @ct.electron(retries=1)
    def failing() -> None:
        note("ran")
        if len(lines()) > 1:
            gate.pass_through("begun")
        raise ValueError

    dispatch_id = ct.dispatch(ct.lattice(failing))()
    gate.wait()
    die(engine_process(data_folder))
    assert ct.get_result(dispatch_id).status == "RUNNING"
    gate.wait()
    gate.let_go()

    assert ct.get_result(dispatch_id, wait=True).status == "FAILED"
    assert lines() == ["ran"] * 3  # once, its retry, and that again after the crash


def test_many_kills_lose_nothing(data_folder: Path, counter: Any, engine_process: Process) -> None:
    note, _ = counter

    @ct.electron
    def work(number: int) -> int:
        note(str(number))
        return number

    dispatch_id = ct.dispatch(ct.lattice(lambda: [work(number) for number in range(300)]))()
    seen: dict[int, Any] = {}
    for _ in range(2):
        with contextlib.suppress(EngineUnavailable):
            next(iter(ct.watch(dispatch_id)))
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            die(engine_process(data_folder))
        for row in ct.get_result(dispatch_id)._nodes():
            if row["status"] == "COMPLETED":
                seen.setdefault(row["node_id"], row["ended"])

    result = ct.get_result(dispatch_id, wait=True)
    assert result.result == list(range(300))
    ended = {row["node_id"]: row["ended"] for row in result._nodes()}
    assert {number: ended[number] for number in seen} == seen  # none of them ran again


# -- a full disk


@pytest.fixture
def full_disk(data_folder: Path, engine_process: Process) -> Iterator[Callable[[bool], None]]:
    """Let no file of the engine grow, or let them grow again."""

    def limit(full: bool) -> None:
        size = 0 if full else resource.RLIM_INFINITY
        pid = engine_process(data_folder).pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    yield limit
    limit(False)


def test_a_full_disk_refuses_dispatches_and_says_so(
    data_folder: Path, full_disk: Callable[[bool], None]
) -> None:
    assert ct.dispatch_sync(ct.lattice(same))(1).result == 1
    full_disk(True)
    with pytest.raises(StoreUnavailable, match="cannot be used.*Free some space"):
        ct.dispatch(ct.lattice(same))(2)
    full_disk(False)

    assert ct.dispatch_sync(ct.lattice(same))(3).result == 3


def test_outcomes_wait_for_space(
    gate: Any, counter: Any, data_folder: Path, full_disk: Callable[[bool], None]
) -> None:
    note, lines = counter

    @ct.electron
    def work() -> str:
        gate.pass_through("begun")
        note("ran")
        return "kept"

    dispatch_id = ct.dispatch(ct.lattice(lambda: same(work())))()
    gate.wait()
    full_disk(True)
    gate.let_go()
    while not lines():
        os.sched_yield()
    with pytest.raises(StoreUnavailable):
        ct.dispatch(ct.lattice(same))(2)
    full_disk(False)

    assert ct.get_result(dispatch_id, wait=True).result == "kept"
    assert lines() == ["ran"]


def test_a_large_outcome_waits_for_space_too(run: Callable[..., ct.Result]) -> None:
    @ct.electron
    def work() -> bytes:
        from qcov import private_file

        write, refusals = private_file.write, iter(range(2))

        def sometimes(path: Path, data: bytes) -> None:
            if next(refusals, None) is not None:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, data)

        private_file.write = sometimes
        return b"x" * 100_000

    assert len(run(work).result) == 100_000


def test_a_large_sublattice_waits_for_space_too(run: Callable[..., ct.Result]) -> None:
    def inner() -> Any:
        from qcov import private_file

        write, refusals = private_file.write, iter(range(2))

        def sometimes(path: Path, data: bytes) -> None:
            if next(refusals, None) is not None:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, data)

        private_file.write = sometimes
        return same(b"x" * 100_000)

    assert len(run(ct.electron(ct.lattice(inner))).result) == 100_000


# -- folders and files that cannot be


@pytest.mark.parametrize("where", ["a file", "below a file", "/proc/nowhere"])
def test_an_impossible_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "a file").write_text("precious")
    folder = {"a file": tmp_path / "a file", "below a file": tmp_path / "a file" / "data"}
    monkeypatch.setenv("QCOV_DATA_DIR", str(folder.get(where, where)))

    for ask in (lambda: ct.dispatch(ct.lattice(same))(1), lambda: ct.get_result("x")):
        with pytest.raises(StoreUnavailable, match="Set QCOV_DATA_DIR to a folder of yours"):
            ask()
    assert (tmp_path / "a file").read_text() == "precious"


def alter(folder: Path, *statement: Any) -> None:
    with contextlib.closing(sqlite3.connect(folder / "qcov.sqlite")) as connection, connection:
        assert connection.execute(*statement).rowcount > 0


def test_a_data_folder_of_a_newer_qcov(data_folder: Path, stop_engine: Any) -> None:
    dispatch_id = ct.dispatch_sync(ct.lattice(same))(1).dispatch_id
    stop_engine(data_folder)
    with contextlib.closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection:
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    alter(data_folder, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="Upgrade qcov"):
        ct.get_result(dispatch_id)
    alter(data_folder, "UPDATE alembic_version SET version_num = ?", version)

    assert ct.get_result(dispatch_id).result == 1


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_tampered_folder_loads_nothing_in_this_program(data_folder: Path, tmp_path: Path) -> None:
    canary = dumps(Canary(tmp_path / "canary"), what="it")
    result = ct.dispatch_sync(ct.lattice(same))([1, 2])
    digest = address(canary)
    alter(data_folder, "INSERT INTO blobs VALUES (?, ?, ?)", (digest, len(canary), canary))
    with contextlib.closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection:
        before = connection.execute("SELECT output FROM nodes WHERE node_id = 0").fetchone()[0]

    # another blob, under its own digest, in place of a node's output and of the result
    alter(data_folder, "UPDATE nodes SET output = ? WHERE node_id = 0", (digest,))
    alter(data_folder, "UPDATE dispatches SET result = ?", (digest,))
    again = ct.get_result(result.dispatch_id)
    for read in (
        lambda: again.result,
        again.get_node_result(0)["output"].serialize,
        lambda: [each.serialize() for each in again.get_all_node_outputs().values() if each],
    ):
        with pytest.raises(IntegrityError):
            read()

    # other bytes under the digest that the rows name
    alter(data_folder, "UPDATE nodes SET output = ? WHERE node_id = 0", (before,))
    alter(data_folder, "UPDATE dispatches SET result = ?", (before,))
    alter(data_folder, "UPDATE blobs SET data = ? WHERE digest = ?", (canary, before))
    with pytest.raises(IntegrityError):
        _ = again.result

    # a graph that was altered
    alter(data_folder, "UPDATE dispatches SET manifest = ?", (digest,))
    for read in (lambda: again.inputs, lambda: again.lattice):
        with pytest.raises(IntegrityError):
            read()
    assert not (tmp_path / "canary").exists()


def test_one_damaged_dispatch_does_not_stop_the_others(
    gate: Any, data_folder: Path, engine_process: Process
) -> None:
    damaged = ct.dispatch(ct.lattice(lambda: [same(1), ct.electron(gate.pass_through)("x")]))()
    gate.wait()
    while ct.get_result(damaged).get_node_result(0)["status"] != "COMPLETED":
        os.sched_yield()
    die(engine_process(data_folder))
    alter(data_folder, "UPDATE nodes SET output_seal = 'forged' WHERE node_id = 0")

    assert ct.dispatch_sync(ct.lattice(same))(5).result == 5
    result = ct.get_result(damaged, wait=True)
    assert result.status == "FAILED"
    assert "IntegrityError" in str(result.error)


@ct.electron
@ct.lattice
def below(levels: int, wait: Any, name: str = "begun") -> Any:
    """Sublattices in each other, the innermost of which waits."""
    return below(levels - 1, wait, name) if levels else ct.electron(wait)(name)


def unended(folder: Path) -> list[tuple[Any, ...]]:
    """The dispatches and nodes that are said to run."""
    running = "('PENDING', 'RUNNING', 'CANCELING')"
    question = (
        f"SELECT id, status FROM dispatches WHERE status IN {running} UNION ALL "
        f"SELECT dispatch_id, status FROM nodes WHERE status IN {running}"
    )
    with contextlib.closing(sqlite3.connect(folder / "qcov.sqlite")) as connection:
        return connection.execute(question).fetchall()


def damage(folder: Path, which: str) -> None:
    """Spoil the graph of the dispatch that comes first by an order."""
    chosen = f"SELECT manifest FROM dispatches ORDER BY {which} LIMIT 1"
    alter(folder, f"UPDATE blobs SET data = x'00' WHERE digest = ({chosen})")


def test_a_damaged_sublattice_fails_what_waits_for_it_and_nothing_else(
    gate: Any, counter: Any, data_folder: Path, engine_process: Process
) -> None:
    note, ran = counter

    def wait(name: str) -> None:
        note(name)
        gate.open.read_text()

    dispatch_id = ct.dispatch(ct.lattice(lambda: [below(0, wait, "a"), below(0, wait, "b")]))()
    until(lambda: len(ran()) == 2)
    die(engine_process(data_folder))
    damage(data_folder, "created DESC")

    assert ct.get_result(dispatch_id).status == "RUNNING"
    until(lambda: len(ran()) == 3)
    gate.let_go()
    result = ct.get_result(dispatch_id, wait=True)
    assert result.status == "FAILED"
    assert "IntegrityError" in str(result.error)
    assert len(ran()) == 3
    assert unended(data_folder) == []


@pytest.mark.parametrize(
    ("levels", "damaged"),
    [(1, "created"), pytest.param(1_100, "created DESC", marks=pytest.mark.slow)],
    ids=["the dispatch", "a sublattice below many others"],
)
def test_with_what_is_damaged_all_ends(
    gate: Any, data_folder: Path, engine_process: Process, levels: int, damaged: str
) -> None:
    dispatch_id = ct.dispatch(ct.lattice(below))(levels, gate.pass_through)
    gate.wait()
    die(engine_process(data_folder))
    damage(data_folder, damaged)

    assert ct.get_result(dispatch_id, wait=True, timeout=120).status == "FAILED"
    assert unended(data_folder) == []
