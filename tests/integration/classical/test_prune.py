"""`qcov prune`: old dispatches go with all that is theirs, and nothing else does."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest

import qcov as ct
from qcov.classical.engine.client import call
from qcov.errors import DispatchNotFound
from qcov.store.pruning import digests_in

LARGE = 100_000


@ct.electron
def make(size: int) -> bytes:
    return os.urandom(16) * size


@ct.electron
def size(data: bytes) -> int:
    return len(data)


@ct.electron
@ct.lattice
def inner(n: int) -> Any:
    return size(make(n))


@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x: float) -> Any:
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


@ct.electron
def measure(x: float) -> float:
    return float(circuit(x))


@ct.electron
def fail() -> None:
    raise ValueError


def workflow(n: int) -> Any:
    return {"size": size(make(LARGE)), "data": make(LARGE), "inner": inner(n), "x": measure(0.1)}


def counts(folder: Path) -> dict[str, int]:
    tables = ("dispatches", "nodes", "circuits", "structures", "blobs", "triggers")
    with sqlite3.connect(folder / "qcov.sqlite") as database:
        found = {
            name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables
        }
    return found | {"files": sum(path.is_file() for path in (folder / "blobs").rglob("*"))}


def age_files(folder: Path) -> None:
    """Let the payloads' files look as if they had lain there for a day."""
    for path in (folder / "blobs").rglob("*"):
        os.utime(path, (time.time() - 86_400,) * 2)


def qcov(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", "prune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, input=answer)


def test_what_is_old_goes_and_what_is_young_stays(data_folder: Path) -> None:
    old = ct.dispatch_sync(ct.lattice(workflow))(3)
    assert old.status == "COMPLETED", old.error
    before = counts(data_folder)
    between = time.time()
    young = ct.dispatch_sync(ct.lattice(workflow))(3)
    age_files(data_folder)

    removed = call("prune", ended_before=between)

    assert removed["dispatches"] == 1
    assert removed["bytes"] > 2 * 16 * LARGE
    assert counts(data_folder) == before  # as much as one such dispatch takes
    with pytest.raises(DispatchNotFound):
        ct.get_result(old.dispatch_id)
    assert ct.get_result(young.dispatch_id).result["size"] == 16 * LARGE
    assert len(young.result["data"]) == 16 * LARGE
    again = ct.redispatch(young.dispatch_id)()
    assert ct.get_result(again, wait=True, timeout=60).status == "COMPLETED"

    age_files(data_folder)
    call("prune", ended_before=time.time())

    left = counts(data_folder)
    assert left == dict.fromkeys(left, 0)


def test_what_runs_or_waits_or_is_watched_stays(data_folder: Path, gate: Any) -> None:
    held = ct.dispatch(ct.lattice(size), disable_run=True)(b"")
    running = ct.dispatch(ct.lattice(ct.electron(gate.pass_through)))()
    gate.wait()
    watched = ct.dispatch_sync(ct.lattice(size))(b"12")
    trigger = ct.triggers.TimeTrigger(3600, watched.dispatch_id)
    trigger.register()
    failed = ct.dispatch_sync(ct.lattice(fail))()

    assert call("prune", ended_before=time.time(), dry_run=True)["dispatches"] == 1
    assert call("prune", ended_before=time.time(), statuses=["COMPLETED"])["dispatches"] == 0
    assert call("prune", ended_before=time.time())["dispatches"] == 1

    with pytest.raises(DispatchNotFound):
        ct.get_result(failed.dispatch_id)
    gate.let_go()
    assert ct.get_result(running, wait=True, timeout=60).status == "COMPLETED"
    ct.redispatch(held, is_pending=True)()
    assert ct.get_result(held, wait=True, timeout=60).result == 0
    trigger.trigger()
    assert ct.get_result(trigger.new_dispatch_ids[0], wait=True, timeout=60).result == 2
    ct.stop_triggers(watched.dispatch_id)
    assert call("prune", ended_before=time.time())["dispatches"] == 4


def damage(folder: Path, dispatch_id: str) -> None:
    """Alter a dispatch's graph behind the engine's back."""
    with sqlite3.connect(folder / "qcov.sqlite") as database:
        database.execute(
            "UPDATE blobs SET data = x'00' WHERE digest = "
            "(SELECT manifest FROM dispatches WHERE id = ?)",
            (dispatch_id,),
        )


def test_one_that_is_damaged_keeps_its_payloads_and_lets_others_go(data_folder: Path) -> None:
    flow, data = ct.lattice(size), b"both have it" * LARGE
    ct.dispatch_sync(flow)(data)
    held = ct.dispatch(flow, disable_run=True)(data)
    damage(data_folder, held)
    age_files(data_folder)
    before = counts(data_folder)

    removed = call("prune", ended_before=time.time())

    assert (removed["dispatches"], removed["blobs"], removed["damaged"]) == (1, 0, [held])
    kept = {name: before[name] for name in ("blobs", "files")}
    assert counts(data_folder).items() >= kept.items()
    told = qcov("-y").stderr
    assert "1 dispatch cannot be read" in told
    assert held in told

    assert "damaged, and has ended as FAILED" in ct.cancel(held)
    assert call("prune", ended_before=time.time())["damaged"] == []
    left = counts(data_folder)
    assert left == dict.fromkeys(left, 0)


def test_a_damaged_dispatch_that_waits_ends_with_its_triggers(data_folder: Path) -> None:
    trigger = ct.triggers.TimeTrigger(600)
    held = ct.dispatch(ct.lattice(size, triggers=trigger), disable_run=True)(b"1")
    damage(data_folder, held)

    assert "damaged, and has ended as FAILED" in ct.cancel(held)
    assert [trigger.status for trigger in ct.list_triggers()] == ["STOPPED"]


def test_payloads_that_come_while_it_looks_stay(data_folder: Path) -> None:
    """The same constants are sent while their last dispatch is removed, again and again."""
    flow = ct.lattice(size)
    data = b"the same in all of them" * 100
    for _ in range(10):
        running = [ct.dispatch(flow)(data) for _ in range(3)]
        call("prune", ended_before=time.time() + 60)
        for each in running:
            try:
                result = ct.get_result(each, wait=True, timeout=60)
                assert result.status == "COMPLETED", result.error
                assert result.inputs["args"] == [data]
            except DispatchNotFound:
                pass  # it had ended, and was old enough


def test_a_sublattice_that_has_gone_is_computed_again(data_folder: Path) -> None:
    first = ct.dispatch_sync(ct.lattice(lambda: [inner(3)]))().dispatch_id
    with sqlite3.connect(data_folder / "qcov.sqlite") as connection:
        gone = connection.execute("DELETE FROM dispatches WHERE parent_id = ?", (first,))
        assert gone.rowcount == 1
    connection.close()

    replaced = {"make": ct.electron(lambda n: b"ab" * n)}
    again = ct.redispatch(first, None, replaced, reuse_previous_results=True)()
    assert ct.get_result(again, wait=True, timeout=60).result == [6]


@pytest.mark.parametrize(
    ("arguments", "answer", "said", "left"),
    [
        (("--dry-run", "-o", "0s"), "", "2 dispatches would go.", 2),
        (("-o", "0s"), "n\n", "Remove 2 dispatches for ever?", 2),
        (("-o", "0s"), "y\n", "2 dispatches removed; ", 0),
        (("-o", "0s", "-y", "-s", "failed"), "", "1 dispatch removed; ", 1),
        (("-y",), "", "0 dispatches removed; 0 payloads", 2),
    ],
)
def test_the_command(
    data_folder: Path, arguments: tuple[str, ...], answer: str, said: str, left: int
) -> None:
    ct.dispatch_sync(ct.lattice(size))(b"1")
    ct.dispatch_sync(ct.lattice(fail))()

    ran = qcov(*arguments, answer=answer)

    assert said in ran.stdout, ran.stderr
    assert len(ct.list_dispatches()) == left


def test_the_command_for_programs(data_folder: Path) -> None:
    ct.dispatch_sync(ct.lattice(size))(b"1")

    assert json.loads(qcov("--json", "--dry-run", "-o", "0s").stdout) == {"dispatches": 1}
    assert json.loads(qcov("--json", "-o", "0s").stdout)["dispatches"] == 1


@pytest.mark.parametrize(
    "arguments", [("-o", "soon"), ("-o", "-5d"), ("-s", "running"), ("-o", "5")]
)
def test_a_wrong_command(arguments: tuple[str, ...]) -> None:
    ran = qcov(*arguments)

    assert ran.returncode == 2
    assert "--" in ran.stderr


def test_digests_are_found_wherever_they_stand() -> None:
    one, two, three = ("a" * 64, "0123456789abcdef" * 4, "f" * 64)
    value = {"a": [one, {"b": [[two, {three: 1}]]}], "c": "A" * 64, "d": 5, "e": one + "0"}

    assert sorted(digests_in(value)) == sorted([one, two, three])


def test_environments_that_nobody_needs_go_too(data_folder: Path) -> None:
    folder = data_folder / "environments"
    call("ping")
    folder.mkdir()
    for name, days in (("old", 40), ("young", 2)):
        (folder / f"folder-{name}").mkdir()
        note = folder / f"{name}.json"
        note.write_text(json.dumps({"folder": f"folder-{name}"}))
        os.utime(note, (time.time() - days * 86_400,) * 2)

    assert call("prune", ended_before=time.time() - 30 * 86_400)["environments"] == 1

    assert sorted(path.name for path in folder.iterdir()) == ["folder-young", "young.json"]
