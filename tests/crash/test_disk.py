"""A disk that is full, or refuses: nothing is lost, whoever asks is told, and work goes on."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from chaos import faults, journal, kills, rounds

import qcov as ct
from qcov.errors import EngineError, StoreError, StoreUnavailable


@ct.electron
def same(x: Any) -> Any:
    return x


@pytest.mark.parametrize("rate", ["0.02", "0.3"])
def test_a_disk_that_refuses_now_and_then_loses_nothing(
    tmp_path: Path, reference: Any, rate: str
) -> None:
    """Each write may be refused, in the database and of files, until it is taken."""
    unsteady = rounds.Round(tmp_path / "round", seed=1, cancel=False, **{faults.RATE: rate})
    outcome = unsteady.run([], reference)

    assert outcome.violations == []
    log = (unsteady.data / "engine.log").read_text()
    assert "Traceback" not in log
    assert "takes no changes" in log or rate != "0.3"
    refused = [about[0] for what, *about in journal.entries(unsteady.journal) if what == "refused"]
    assert refused or rate != "0.3"
    for told in refused:
        assert f"the data folder {unsteady.data} cannot be used" in told


def test_a_disk_that_refuses_while_processes_are_killed(tmp_path: Path, reference: Any) -> None:
    unsteady = rounds.Round(tmp_path / "round", seed=2, **{faults.RATE: "0.2"})
    order = [
        kills.Kill(victim="engine", point="inside node_finished", count=5),
        kills.Kill(victim="all of them", begun=60),
        kills.Kill(victim="engine", begun=120),
    ]
    outcome = unsteady.run(order, reference)

    assert outcome.violations == []
    assert {victim for victim, _ in outcome.kills} >= {"engine", "client"}


def grows_to(engine: psutil.Process, size: int) -> None:
    """Let no file of the engine be longer than this."""
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_wherever_the_space_ends_a_dispatch_is_stored_or_refused(
    data_folder: Path, engine_of: Callable[[Path], psutil.Process]
) -> None:
    """The real limit, some hundred bytes later each time: the log breaks off at every place."""
    assert ct.dispatch_sync(ct.lattice(same))(0).result == 0  # the workers have no limit
    engine = engine_of(data_folder)
    log = data_folder / "qcov.sqlite-wal"
    accepted: dict[int, str] = {}
    refused: list[str] = []
    for number in range(40):
        grows_to(engine, log.stat().st_size + 700 * number)
        try:
            accepted[number] = ct.dispatch(ct.lattice(same))(number)
        except StoreUnavailable as error:
            refused.append(str(error))
        grows_to(engine, resource.RLIM_INFINITY)

    assert len(refused) > 3
    assert all("Free some space" in told for told in refused)
    assert len(accepted) > 3
    for number, dispatch_id in accepted.items():
        assert ct.get_result(dispatch_id, wait=True, timeout=60).result == number
    with contextlib.closing(sqlite3.connect(data_folder / "qcov.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = connection.execute("SELECT count(*) FROM dispatches").fetchone()[0]
    assert stored == 1 + len(accepted)


def test_an_engine_that_cannot_start_on_a_full_disk_says_so(
    data_folder: Path, engine_of: Callable[[Path], psutil.Process], stop_engine: Any
) -> None:
    dispatch_id = ct.dispatch_sync(ct.lattice(same))(1).dispatch_id
    stop_engine(data_folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # the engine inherits it
    try:
        with pytest.raises((StoreError, EngineError), match="File too large"):
            ct.get_result(dispatch_id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert ct.get_result(dispatch_id).result == 1
