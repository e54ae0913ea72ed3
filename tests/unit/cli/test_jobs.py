"""`qcov jobs`, `qcov costs` and `qcov fakeqpu`."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pennylane as qml
import pytest

import qcov as ct
from qcov.job_entries import Intent
from qcov.journal import Journal

if TYPE_CHECKING:
    from conftest import Run


def circuit_on(executor: Any) -> Any:
    @ct.qelectron(executors=executor)
    @qml.set_shots(100)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(angle: float) -> Any:
        qml.RX(angle, wires=0)
        return qml.expval(qml.Z(0))

    return circuit


def unknown_job() -> str:
    intent = Intent(
        token="f00d" * 8, run="r", part=0, scope="s", dispatch_id="d-1", node_id=0,
        provider="P", device="q", account="a", keys=["k"], shots=5, estimate={"USD": 2.0},
    )  # fmt: skip
    Journal().intend(intent, {})
    Journal().unknown(intent.token, "it was killed")
    return intent.token


def test_nothing_was_submitted(run: Run) -> None:
    assert run("jobs").out == "No job has been submitted.\n"
    assert run("costs").out == "No job has been submitted.\n"
    assert json.loads(run("jobs", "--json").out) == []


def test_jobs_and_what_they_cost_are_listed(run: Run) -> None:
    circuit_on(ct.executor.FakeQPU())(0.0)
    (job,) = ct.jobs.list_jobs()

    assert str(job.job_id) in run("jobs").out
    assert "COMPLETED" in run("jobs").out
    assert run("jobs", "--open").out == "No job matches.\n"
    shown = run("jobs", "show", job.name).out
    assert f"token: {job.token}" in shown
    assert "USD: $0.335 (at most $0.335 expected)" in shown
    (row,) = json.loads(run("costs", "--by", "device", "--json").out)
    assert row == {
        "device": "FakeQPU fakeqpu", "jobs": 1, "USD": pytest.approx(0.335), "QPU seconds": None,
        "tasks": 1.0, "shots": 100.0, "unsettled": 0,
    }  # fmt: skip
    for by in ("day", "dispatch", "job"):
        assert "0.335" in run("costs", "--by", by, "--since", "1d").out


def test_jobs_of_programs_that_are_gone_are_asked_for(run: Run) -> None:
    executor = ct.executor.FakeQPU(usd_per_task=2.0, usd_per_shot=0.0)
    circuit_on(executor)(0.0)
    (job,) = ct.jobs.list_jobs()
    with sqlite3.connect(Journal().path) as journal:  # as if nobody had waited for it
        journal.execute("UPDATE jobs SET state = 'SUBMITTED', ended = NULL")
        journal.execute("UPDATE charges SET actual = NULL")

    assert run("jobs", "refresh").out == f"Job {job.name} is COMPLETED.\n"
    assert run("jobs", "refresh").out == "No job has ended that was not known to.\n"
    assert json.loads(run("jobs", "refresh", "--json").out) == []
    (row,) = json.loads(run("costs", "--json").out)
    assert (row["USD"], row["unsettled"]) == (2.0, 1)


def test_results_are_attached(run: Run) -> None:
    executor = ct.executor.FakeQPU(patience=0.3, poll_interval=0.1)
    circuit_on(executor)(0.0)
    (job,) = ct.jobs.list_jobs()

    assert run("jobs", "attach", job.name).out == "1.0\n"
    assert json.loads(run("jobs", "attach", job.token[:8], "--json").out) == [1.0]
    executor.server.close()
    ran = run("jobs", "attach", job.name)
    assert (ran.code, "nobody answers at http" in ran.err) == (1, True)


def test_what_nobody_knows_is_resolved(run: Run) -> None:
    token = unknown_job()
    assert "UNKNOWN_SUBMISSION" in run("jobs", "--open", "--dispatch", "d-1").out

    assert "say which" in run("jobs", "cancel").err
    ran = run("jobs", "resolve", token)
    assert (ran.code, "one of the two" in ran.err) == (1, True)
    assert "REFUSED" in run("jobs", "resolve", token[:8], "--never").out
    ran = run("jobs", "resolve", token, "--never")
    assert "which is REFUSED" in ran.err
    (row,) = json.loads(run("costs", "--json").out)
    assert row["USD"] == 0.0


def test_a_found_job_gets_its_id(run: Run) -> None:
    token = unknown_job()
    assert run("jobs", "resolve", token, "--job-id", "arn:1").out.startswith("arn:1 on P q")
    assert "SUBMITTED" in run("jobs").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("jobs", "show", "nothing"), 1, "no job is known as 'nothing'"),
        (("jobs", "attach", "nothing"), 1, "no job is known as 'nothing'"),
        (("jobs", "cancel", "nothing"), 1, "no job is known as 'nothing'"),
        (("costs", "--by", "week"), 2, "none of day, device, dispatch, job"),
        (("costs", "--since", "yesterday"), 2, "no length of time"),
        (("fakeqpu", "queue_time"), 2, "'queue_time' is no NAME=VALUE"),
        (("fakeqpu", "que_time=1"), 1, "Did you mean 'queue_time'?"),
        (("fakeqpu", "fail=2"), 1, "fail should be less than or equal to 1, not 2"),
        (("fakeqpu", "--token", "env:NOT_SET_AT_ALL"), 1, "NOT_SET_AT_ALL"),
    ],
)
def test_what_is_wrong_is_said(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = run(*arguments)
    assert said in ran.err + ran.out
    assert ran.code == code


def test_a_job_whose_circuits_were_not_kept_cannot_be_read(run: Run) -> None:
    token = unknown_job()
    assert "its circuits could not be kept" in run("jobs", "attach", token).err
    assert run("jobs", "cancel", token).code == 1


@pytest.mark.process
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["lines", "json"])
def test_a_provider_runs_until_it_is_stopped(as_json: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "qcov", "fakeqpu", "usd_per_task=1", "usd_per_shot=0"]
    command.extend(as_json)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None
        assert not as_json or json.loads(line) == {"url": found[0], "pid": process.pid}
        assert circuit_on(ct.executor.FakeQPU(url=found[0]))(0.0) == 1.0
        process.terminate()
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(said.splitlines()[-1])["usd"] == 1.0


def test_a_fake_provider_that_cannot_listen_leaves_ctrl_c_as_it_was(run: Run) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = run("fakeqpu", "--port", str(taken.getsockname()[1]))

    assert (found.code, "cannot listen on port" in found.err) == (1, True)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
