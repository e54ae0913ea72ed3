"""Deleting one dispatch: with all that is its own, and nothing that is needed."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.engine.client import call
from qcov.errors import DeletionRefused, DispatchNotFound
from tests.waiting import until

pytestmark = pytest.mark.process


@ct.electron
def wait_for(gate: str) -> str:
    while not Path(gate).exists():
        time.sleep(0.01)
    return "open"


@ct.electron
def double(x: Any) -> Any:
    return x * 2


@ct.lattice
def gated(gate: str) -> str:
    return double(wait_for(gate))


@ct.electron
@ct.lattice
def inner(x: Any) -> Any:
    return double(x)


@ct.lattice
def outer(x: Any) -> Any:
    return inner(x)


def test_it_goes_with_its_sublattices_and_payloads(data_folder: Path) -> None:
    kept = ct.dispatch_sync(outer)("kept")
    dispatch_id = ct.dispatch_sync(outer)("a word that nobody else has said").dispatch_id

    assert call("delete", dispatch_id=dispatch_id) == f"Dispatch {dispatch_id} deleted."

    with pytest.raises(DispatchNotFound):
        ct.get_result(dispatch_id)
    found = call("dispatches", root_only=False)["dispatches"]
    assert {row["root_id"] for row in found} == {kept.dispatch_id}

    database = data_folder / "qcov.sqlite"
    until(lambda: not _holds(database, b"a word that nobody else has said"))
    assert ct.get_result(kept.dispatch_id).result == "keptkept"


def _holds(database: Path, word: bytes) -> bool:
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT data FROM blobs WHERE data IS NOT NULL").fetchall()
    return any(word in data for (data,) in rows)


def test_what_runs_is_refused(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    dispatch_id = ct.dispatch(gated)(str(gate))

    with pytest.raises(DeletionRefused, match="is RUNNING, so it was not deleted. Cancel it first"):
        call("delete", dispatch_id=dispatch_id)

    gate.touch()
    assert ct.get_result(dispatch_id, wait=True).result == "openopen"


def test_a_part_is_refused(data_folder: Path) -> None:
    result = ct.dispatch_sync(outer)(1)
    child = call("nodes", dispatch_id=result.dispatch_id, node_id=0)[0]["sub_dispatch_id"]

    with pytest.raises(DeletionRefused, match=f"is part of {result.dispatch_id}"):
        call("delete", dispatch_id=child)


def test_one_that_a_trigger_may_run_again_is_refused(tmp_path: Path) -> None:
    trigger = ct.triggers.TimeTrigger(3600)
    lattice = ct.lattice(double, triggers=trigger)
    dispatch_id = ct.dispatch(lattice)(2)

    [active] = call("triggers", limit=5, dispatch_id=dispatch_id)["triggers"]
    told = f"run again by the trigger {active['name']} .{active['id']}., .* Stop its triggers first"
    with pytest.raises(DeletionRefused, match=told):
        call("delete", dispatch_id=dispatch_id)

    call("stop_triggers", dispatch_ids=[dispatch_id])
    with pytest.raises(DeletionRefused, match="is NEW_OBJECT"):
        call("delete", dispatch_id=dispatch_id)
    ct.cancel(dispatch_id)
    call("delete", dispatch_id=dispatch_id)
    with pytest.raises(DispatchNotFound):
        call("dispatch", dispatch_id=dispatch_id)


def test_one_that_is_not_there_is_not_found(common_engine: Path) -> None:
    with pytest.raises(DispatchNotFound):
        call("delete", dispatch_id="nope")
