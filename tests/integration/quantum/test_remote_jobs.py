"""Jobs of electrons survive what is killed, and end with what is cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pennylane as qml
import psutil
import pytest

import qcov as ct
from qcov.job_entries import State
from qcov.journal import Journal
from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.server import FakeServer
from tests.conftest import engine_pid
from tests.waiting import ended, until

pytestmark = pytest.mark.process


@pytest.fixture
def provider() -> Iterator[FakeServer]:
    server = FakeServer(Conditions(seed=7))
    yield server
    server.close()


def energy_of(server: FakeServer, **settings: Any) -> Any:
    """An electron whose circuit runs on the provider."""

    @ct.qelectron(executors=ct.executor.FakeQPU(url=server.url, poll_interval=0.1, **settings))
    @qml.set_shots(100)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(angle: float) -> Any:
        qml.RX(angle, wires=0)
        return qml.expval(qml.Z(0))

    @ct.electron(retries=1)
    def energy(angle: float, pids: str) -> float:
        with Path(pids).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return float(circuit(angle))

    return energy


def workflow_of(energy: Any, **settings: Any) -> Any:
    @ct.lattice(**settings)
    def workflow(angle: float, pids: str) -> float:
        return energy(angle, pids)

    return workflow


def change(server: FakeServer, **conditions: Any) -> None:
    httpx.post(f"{server.url}/conditions", json=conditions, timeout=60).raise_for_status()


def submitted() -> bool:
    return any(job.state is State.SUBMITTED for job in Journal().jobs())


def test_a_killed_worker_s_electron_goes_on_with_its_job(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    change(provider, queue_time=5.0)
    pids = tmp_path / "pids"
    dispatch_id = ct.dispatch(workflow_of(energy_of(provider)))(0.0, str(pids))
    until(submitted)
    os.kill(int(pids.read_text()), signal.SIGKILL)
    until(lambda: len(pids.read_text().split()) == 2)
    change(provider, queue_time=0.0)

    result = ct.get_result(dispatch_id, wait=True)

    assert result.result == 1.0
    assert provider.jobs.ledger()["jobs"] == 1
    (record,) = result.get_node_result(0)["qelectron"]
    (job,) = Journal().jobs()
    assert record.job_id == job.job_id
    assert job.state is State.COMPLETED
    assert record.cost == {"USD": pytest.approx(0.335), "tasks": 1.0, "shots": 100.0}


def test_a_killed_engine_s_electrons_go_on_with_their_jobs(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    change(provider, queue_time=4.0)
    pids = tmp_path / "pids"
    dispatch_id = ct.dispatch(workflow_of(energy_of(provider)))(0.0, str(pids))
    until(submitted)
    pid = engine_pid(data_folder)
    assert pid is not None
    engine = psutil.Process(pid)
    engine.kill()
    until(lambda: ended(engine))

    assert ct.get_result(dispatch_id, wait=True).result == 1.0
    assert provider.jobs.ledger()["jobs"] == 1


def test_a_worker_killed_while_it_submits(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    """The provider has heard of the job, and the worker never gets to know."""
    change(provider, latency=2.0, idempotent=False)
    pids = tmp_path / "pids"
    dispatch_id = ct.dispatch(workflow_of(energy_of(provider)))(0.0, str(pids))
    until(lambda: [job for job in Journal().jobs() if job.state is State.SUBMITTING])
    os.kill(int(pids.read_text()), signal.SIGKILL)
    change(provider, latency=0.1)

    result = ct.get_result(dispatch_id, wait=True)

    ledger, (job, *others) = provider.jobs.ledger(), Journal().jobs()
    assert not others
    if result.status == "COMPLETED":  # it had been heard of before the second try asked
        assert (ledger["jobs"], job.state) == (1, State.COMPLETED)
    else:
        assert job.state is State.UNKNOWN_SUBMISSION
        assert "UNKNOWN_SUBMISSION" in result.error


def test_cancelling_a_dispatch_cancels_its_jobs(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    change(provider, queue_time=600.0)
    dispatch_id = ct.dispatch(workflow_of(energy_of(provider)))(0.0, str(tmp_path / "pids"))
    until(submitted)

    ct.cancel(dispatch_id)

    until(lambda: Journal().jobs()[0].state is State.CANCELLED)
    assert provider.jobs.ledger()["paid_jobs"] == 0


def test_a_lattice_s_budget_is_shared_by_its_electrons(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    budget = ct.Budget(usd=0.5)
    workflow = workflow_of(energy_of(provider), budget=budget)

    first = ct.dispatch_sync(workflow)(0.0, str(tmp_path / "pids"))
    second = ct.dispatch_sync(workflow)(0.1, str(tmp_path / "pids"))

    assert first.result == 1.0
    assert second.status == "FAILED"
    assert "BudgetExceeded" in second.error
    assert "only $0.165 is left" in second.error
    assert budget.left["USD"] == pytest.approx(0.165)
    assert provider.jobs.ledger()["jobs"] == 1


def test_circuits_that_outlive_their_electron_are_paid_from_its_budget(
    data_folder: Path, provider: FakeServer
) -> None:
    @ct.qelectron(executors=ct.executor.FakeQPU(url=provider.url, max_batch=1))
    @qml.set_shots(100)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(angle: float) -> Any:
        qml.RX(angle, wires=0)
        return qml.expval(qml.Z(0))

    @ct.electron
    def asks() -> None:
        for step in range(4):
            circuit.run_later(0.1 * step)

    @ct.lattice(budget=ct.Budget(usd=0))
    def workflow() -> None:
        return asks()

    assert ct.dispatch_sync(workflow)().status == "COMPLETED"
    assert provider.jobs.ledger()["jobs"] == 0


def test_a_sublattice_draws_on_the_budget_around_it(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    inner = workflow_of(energy_of(provider), budget=ct.Budget(usd=100))
    outer = workflow_of(ct.electron(inner), budget=ct.Budget(usd=0.1))

    result = ct.dispatch_sync(outer)(0.0, str(tmp_path / "pids"))

    assert result.status == "FAILED"
    assert provider.jobs.ledger()["jobs"] == 0


_SCRIPT = """
import sys, pennylane as qml, qcov as ct

@ct.qelectron(executors=ct.executor.FakeQPU(url=sys.argv[1]))
@qml.set_shots(100)
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(angle):
    qml.RX(angle, wires=0)
    return qml.expval(qml.Z(0))

print(float(circuit(3.141592653589793)))
"""


def test_a_killed_script_s_job_can_be_attached(
    data_folder: Path, provider: FakeServer, tmp_path: Path
) -> None:
    change(provider, queue_time=600.0)
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    process = subprocess.Popen([sys.executable, str(script), provider.url], cwd=tmp_path)
    until(submitted)
    process.kill()
    process.wait()
    (job,) = ct.jobs.list_jobs(only_open=True)
    assert ct.jobs.refresh() == []
    waits = provider.jobs.find(job.token)
    assert waits is not None
    waits.starts = waits.ends = 0.0  # its turn has come, and it is done

    assert ct.jobs.attach(job.token[:8]) == [-1.0]
    assert provider.jobs.ledger()["jobs"] == 1

    command = [sys.executable, "-m", "qcov", "jobs", "attach", job.name, "--json"]
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(again.stdout) == [-1.0]


CANARY = "canary-7d1e-token"


def test_a_token_is_told_to_nobody(
    data_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer(Conditions(), token=CANARY)
    pids = str(tmp_path / "pids")
    try:
        right = ct.dispatch_sync(workflow_of(energy_of(server, token=CANARY)))(0.0, pids)
        wrong = ct.dispatch_sync(workflow_of(energy_of(server, token="no")))(0.1, pids)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            ct.executor.FakeQPU(url=server.url, token=f"not {CANARY}", retries=0).queue_depth()
    finally:
        server.close()

    assert right.result == 1.0
    assert wrong.status == "FAILED"
    said = "".join(capfd.readouterr())
    told = [repr(right), str(wrong), repr(refused.value), repr(wrong.get_all_node_results()), said]
    assert not [text for text in told if CANARY in text]
    files = [path for path in data_folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    having = {path.name for path in files if CANARY.encode() in path.read_bytes()}
    assert having == {"credentials.json"}
