"""IBM Quantum at the wire: what is sent, paid and closed, whatever goes wrong."""

from __future__ import annotations

import http.client
import json
import logging
import os
import pickle
import re
import sqlite3
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

pytest.importorskip("qiskit_ibm_runtime")

import qcov as ct
from qcov.errors import (
    BudgetExceeded,
    CircuitError,
    CircuitRejected,
    ExecutorOffline,
    InvalidSetting,
    JobLost,
    QuotaExceeded,
    TransientFailure,
    UnknownSubmission,
)
from qcov.policy import ErrorKind
from qcov.qexecutors import ibm_provider
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.ibmq import IBMQExecutor
from qcov.qexecutors.qiskit import QiskitExecutor
from qcov.qexecutors.qiskit_fitting import Fitting
from tests.standins.clocks import late_once
from tests.standins.ibm import CRN, IBM, PAID_CRN, serving
from tests.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SUBMIT, OPEN = "POST /jobs", "POST /sessions"


@pytest.fixture
def ibm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IBM]:
    folder = tmp_path / "ibm"
    folder.mkdir()
    with serving(folder) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("IBM_KEY", service.token)
        monkeypatch.setenv("HOME", str(tmp_path))  # no account that somebody has saved
        yield service


def executor(**settings: Any) -> QiskitExecutor:
    usual: dict[str, Any] = {
        "device": "sampler",
        "backend": "fake_manila",
        "ibmqx_token": "env:IBM_KEY",
        "instance": CRN,
        "shots": 200,
        "poll_interval": 0.05,
        "patience": 5.0,
        "options": {"optimization_level": 1},
    }
    return QiskitExecutor(**{**usual, **settings})


def circuits(count: int) -> CircuitBatch:
    """Circuits whose values differ by more than chance."""
    scripts = [
        qml.tape.QuantumScript(
            [qml.RX(angle, 0), qml.CNOT([0, 1])], [qml.expval(qml.Z(1))], shots=200
        )
        for angle in np.linspace(0, np.pi, count)
    ]
    return CircuitBatch(circuits=tuple(scripts), wires=2)


def values(results: Any) -> list[Any]:
    return [getattr(one, "value", one) for one in results]


def assert_right(results: Any) -> None:
    """Values are those of `circuits`, noise and chance aside."""
    found = values(results)
    assert not [one for one in found if isinstance(one, Exception)]
    np.testing.assert_allclose(found, np.cos(np.linspace(0, np.pi, len(found))), atol=0.35)


def paid_jobs(ibm: IBM) -> int:
    """Jobs that have run, or still may."""
    return sum(job.status != "Cancelled" for job in ibm.jobs.values())


# -- jobs --------------------------------------------------------------------------------------


def test_a_batch_is_one_job_and_opens_no_session(ibm: IBM) -> None:
    results = executor().run_batch(circuits(5))

    assert_right(results)
    assert ibm.pubs_of_jobs() == [5]
    assert ibm.sessions == {}
    told = {"tasks": 0.2, "shots": 200, "QPU seconds": 0.4, "USD": 0}  # 2 s, shared by five
    assert results[0].cost == pytest.approx(told)
    assert results[0].backend == "fake_manila"
    assert results[0].metadata["plan"] == "open"
    timings = [one.metadata["timing"] for one in results]
    assert timings[0].keys() == {"transpile", "queue", "run", "fetch"}
    assert min(one["transpile"] for one in timings) == timings[0]["transpile"] > 0


def test_a_gradient_of_eight_circuits_is_one_job(ibm: IBM) -> None:
    @ct.qelectron(executors=executor(shots=1000))
    @qml.qnode(qml.device("default.qubit", wires=4), diff_method="parameter-shift")
    def circuit(angles: Any) -> Any:
        for wire in range(4):
            qml.RX(angles[wire], wires=wire)
        for wire in range(3):
            qml.CNOT(wires=[wire, wire + 1])
        return qml.expval(qml.Z(3))

    angles = pnp.array([0.1, 0.8, 1.3, 0.4], requires_grad=True)
    slope = qml.grad(circuit)(angles)

    np.testing.assert_allclose(slope, -np.tan(angles) * np.prod(np.cos(angles)), atol=0.2)
    assert ibm.pubs_of_jobs() == [1, 8]  # the value, and the slope


def test_jobs_carry_the_token_and_the_users_tags(ibm: IBM) -> None:
    executor(options={"environment": {"job_tags": ["thesis"]}}).run_batch(circuits(1))

    (job,) = ibm.jobs.values()
    (entry,) = ct.jobs.list_jobs()
    assert job.tags == ["thesis", "qcov", entry.token]
    assert entry.job_id == job.id


def test_several_jobs_share_a_batch_that_is_closed(ibm: IBM) -> None:
    results = executor(single_job=False).run_batch(circuits(3))

    assert_right(results)
    assert ibm.pubs_of_jobs() == [1, 1, 1]
    assert [one["mode"] for one in ibm.sessions.values()] == ["batch"]
    assert ibm.open_sessions == []
    assert {job.request["session_id"] for job in ibm.jobs.values()} == set(ibm.sessions)


def test_circuits_are_transpiled_before_a_batch_is_open(
    ibm: IBM, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_at: list[int] = []
    fit = Fitting.fit

    def watched(self: Any, pub: Any) -> Any:
        opened_at.append(ibm.count(OPEN))
        return fit(self, pub)

    monkeypatch.setattr(Fitting, "fit", watched)
    executor(single_job=False).run_batch(circuits(3))

    assert opened_at == [0, 0, 0]
    assert ibm.count(OPEN) == 1


def test_a_batch_is_closed_when_a_job_fails(ibm: IBM) -> None:
    ibm.break_next(SUBMIT, "400")
    with pytest.raises(CircuitRejected):
        executor(single_job=False).run_batch(circuits(2))
    assert len(ibm.sessions) == 1
    assert ibm.open_sessions == []


@pytest.mark.parametrize(
    ("request_", "how", "sessions"), [(OPEN, "403", 0), ("PATCH /sessions/*", "400", 1)]
)
def test_jobs_do_without_a_batch_that_cannot_be_had(
    ibm: IBM, request_: str, how: str, sessions: int
) -> None:
    ibm.break_next(request_, how)
    assert_right(executor(single_job=False).run_batch(circuits(2)))
    assert len(ibm.sessions) == sessions
    assert ibm.open_sessions == []


def test_the_free_plan_has_three_jobs_waiting_at_most(ibm: IBM) -> None:
    most = 0
    submit = ibm.submit

    def watched(request: Any) -> Any:
        nonlocal most
        made = submit(request)
        waiting = sum(job.status == "Queued" for job in ibm.jobs.values())
        most = max(most, waiting)
        return made

    ibm.submit = watched  # type: ignore[method-assign]
    assert_right(executor(single_job=False).run_batch(circuits(7)))
    assert (len(ibm.jobs), most) == (7, 3)


def test_the_estimator_takes_what_it_can_and_the_sampler_the_rest(ibm: IBM) -> None:
    measured = [qml.expval(qml.Z(1)), qml.probs(wires=[0, 1]), qml.expval(qml.Z(0) + qml.X(1))]
    scripts = [qml.tape.QuantumScript([qml.X(1)], [one], shots=2000) for one in measured]
    batch = CircuitBatch(circuits=tuple(scripts), wires=2)

    with pytest.warns(UserWarning, match="resilience_level is EstimatorV2's"):
        results = values(executor(options={"resilience_level": 1}).run_batch(batch))

    programs = [job.request["program_id"] for job in ibm.jobs.values()]
    assert sorted(programs) == ["estimator", "sampler"]
    assert results[0] == pytest.approx(-1, abs=0.3)
    assert results[1][1] > 0.7
    assert results[2] == pytest.approx(1, abs=0.3)
    estimator = next(one for one in ibm.jobs.values() if one.request["program_id"] == "estimator")
    assert estimator.request["params"]["resilience_level"] == 1


def test_results_in_another_order_are_put_right(ibm: IBM) -> None:
    ibm.shuffle = True
    scripts = [
        qml.tape.QuantumScript(gates, [qml.expval(qml.Z(0))], shots=100)
        for gates in ([qml.X(0)], [], [qml.X(1)])
    ]
    results = executor().run_batch(CircuitBatch(circuits=tuple(scripts), wires=2))
    np.testing.assert_allclose(values(results), [-1, 1, 1], atol=0.35)


@pytest.mark.parametrize("damage", ["cut", "doubled", "mislabelled"])
def test_results_that_are_not_those_of_the_circuits_are_refused(ibm: IBM, damage: str) -> None:
    ibm.damage = damage
    shifted = [qml.tape.QuantumScript([qml.RX(a, 0)], [qml.expval(qml.Z(0))]) for a in (0.1, 0.2)]
    flipped = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])
    batch = CircuitBatch(circuits=(*shifted, flipped), wires=1)

    results = values(executor(patience=0.3).run_batch(batch))

    assert all("came damaged" in str(one) for one in results)
    assert all(isinstance(one, JobLost) for one in results)
    assert len(ibm.jobs) == 1


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ("429", TransientFailure, "broken with 429"),
        ("400/3458", QuotaExceeded, "error code 3458"),
        ("400/4317", QuotaExceeded, "error code 4317"),
        ("400/1217", TransientFailure, "error code 1217"),
        ("401", CircuitRejected, "broken with 401"),
        ("403", CircuitRejected, "broken with 403"),
        ("404", CircuitRejected, "broken with 404"),
        ("400/1002", CircuitRejected, "error code 1002"),
    ],
)
def test_a_refusal_is_told_by_its_kind_and_leaves_no_job(
    ibm: IBM, how: str, error: Any, said: str
) -> None:
    ibm.break_next(SUBMIT, how)
    with pytest.raises(error, match=said):
        executor().run_batch(circuits(2))
    (entry,) = ct.jobs.list_jobs()
    assert entry.state == "REFUSED"
    assert ibm.jobs == {}


@pytest.mark.parametrize("how", ["drop before", "drop after", "garble", "500", "502"])
def test_what_breaks_while_a_job_is_asked_for_is_paid_once(ibm: IBM, how: str) -> None:
    ibm.break_next(SUBMIT, how)
    assert_right(executor().run_batch(circuits(3)))
    assert paid_jobs(ibm) == 1
    assert ibm.paid_seconds == 2.0


def test_a_refusal_after_a_lost_answer_is_no_proof_that_there_is_no_job(ibm: IBM) -> None:
    """The SDK asks again by itself, and tells only what came at last."""
    ibm.break_next(SUBMIT, "drop after")
    ibm.break_next(SUBMIT, "429")
    assert_right(executor().run_batch(circuits(2)))
    assert (len(ibm.jobs), ibm.count(SUBMIT)) == (1, 2)
    (entry,) = ct.jobs.list_jobs()
    assert (entry.state, entry.job_id) == ("COMPLETED", *ibm.jobs)


def test_a_job_of_which_nobody_knows_is_not_submitted_again(
    ibm: IBM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ibm_provider, "_SENDING", 1.0)
    ibm.break_next(SUBMIT, "hang")
    results = values(executor().run_batch(circuits(2)))

    assert all(isinstance(one, UnknownSubmission) for one in results)
    (entry,) = ct.jobs.list_jobs()
    assert entry.state == "UNKNOWN_SUBMISSION"
    assert entry.token in str(results[0])
    assert ibm.count(SUBMIT) == 1


@pytest.mark.parametrize(
    ("request_", "how"),
    [
        ("GET /jobs/*", "drop before"),
        ("GET /jobs/*", "500"),
        ("GET /jobs/*", "429"),
        ("GET /jobs/*/results", "drop after"),
        ("GET /jobs/*/results", "garble"),
        ("GET /jobs/*/results", "503"),
    ],
)
def test_a_hiccup_while_waiting_loses_nothing(ibm: IBM, request_: str, how: str) -> None:
    ibm.break_next(request_, how)
    assert_right(executor().run_batch(circuits(2)))
    assert len(ibm.jobs) == 1


def test_an_answer_that_never_comes_is_not_waited_for(
    ibm: IBM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ibm_provider, "_SECONDS", 1.0)
    ibm.break_next("GET /jobs/*", "hang")
    assert_right(executor().run_batch(circuits(2)))
    assert len(ibm.jobs) == 1


def test_a_job_that_ibm_does_not_know_does_not_hide_the_others(ibm: IBM) -> None:
    ibm.hold = True
    provider = executor().provider
    programs = provider.translate(circuits(1)).programs
    first, second = (provider.submit(programs, token * 32) for token in "ab")
    assert provider.look([first, second]).keys() == {first, second}
    del ibm.jobs[first]
    assert provider.look([first, second]).keys() == {second}
    assert executor().provider.look([first, second]).keys() == {second}


@pytest.mark.parametrize(
    ("code", "kind"), [(1217, ErrorKind.TRANSIENT), (1305, ErrorKind.PERMANENT)]
)
def test_a_job_that_fails_says_why(ibm: IBM, code: int, kind: ErrorKind) -> None:
    ibm.fail_jobs = (code, "the reason")
    runs = executor()
    (failed, _) = values(runs.run_batch(circuits(2)))
    assert isinstance(failed, CircuitError)
    assert f"Error code {code}; the reason" in str(failed)
    assert runs.classify(failed) is kind


def test_a_job_is_cancelled_at_its_time_limit(ibm: IBM, monkeypatch: pytest.MonkeyPatch) -> None:
    ibm.hold = True
    late_once(monkeypatch, lambda: ibm.jobs)
    results = values(executor(time_limit=600).run_batch(circuits(2)))
    assert all("time limit of 600 s" in str(one) for one in results)
    assert [job.status for job in ibm.jobs.values()] == ["Cancelled"]
    assert ct.jobs.list_jobs(only_open=True) == []


# -- jobs that are found again -----------------------------------------------------------------


def test_a_job_is_attached_by_another_program(ibm: IBM) -> None:
    """The executor chose the least busy backend; its job stays there."""
    ibm.hold = True
    waiting = executor(backend="least_busy", patience=0.5)
    ibm.break_next("GET /jobs/*", "400/1000", times=50)
    lost = values(waiting.run_batch(circuits(3)))
    assert all(isinstance(one, JobLost) for one in lost)
    (entry,) = ct.jobs.list_jobs()
    assert entry.device == "fake_lima"

    ibm.hold, ibm.faults = False, {}
    ibm.waiting = {"fake_manila": 0, "fake_lima": 50, "fake_jakarta": 60}
    assert_right(ct.jobs.attach(entry.name))
    assert len(ibm.jobs) == 1


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        ({}, 1),
        ({"environment": {"job_tags": ["thesis"]}, "max_execution_time": 60}, 1),
        ({"optimization_level": 2}, 2),
        ({"transpilation": {"initial_layout": [1, 2]}}, 2),
        ({"dynamical_decoupling": {"enable": True}}, 2),
        ({"resilience_level": 1}, 2),
    ],
)
def test_a_job_is_only_taken_over_by_who_asks_for_the_same(
    ibm: IBM, options: Any, jobs: int
) -> None:
    ibm.hold = True
    ibm.break_next("GET /jobs/*", "400/1000", times=50)
    usual = {"optimization_level": 1}
    lost = values(executor(patience=0.1, options=usual).run_batch(circuits(2)))
    assert all(isinstance(one, JobLost) for one in lost)

    ibm.hold, ibm.faults = False, {}
    assert_right(executor(options={**usual, **options}).run_batch(circuits(2)))
    assert len(ibm.jobs) == jobs


def test_a_job_is_cancelled_by_another_program(ibm: IBM) -> None:
    ibm.hold = True
    ibm.break_next("GET /jobs/*", "400/1000", times=2)
    values(executor(patience=0.1).run_batch(circuits(1)))
    (entry,) = ct.jobs.list_jobs(only_open=True)
    ibm.faults = {}
    assert ct.jobs.cancel(entry.name).state == "CANCELLED"
    assert [job.status for job in ibm.jobs.values()] == ["Cancelled"]


def test_a_job_that_nobody_waited_for_is_found_by_its_tag(ibm: IBM) -> None:
    provider = executor().provider
    programs = provider.translate(circuits(2)).programs
    job_id = provider.submit(programs, "a" * 32)
    assert executor().provider.find("a" * 32) == job_id
    assert executor().provider.find("b" * 32) is None


# -- money -------------------------------------------------------------------------------------


def test_a_budget_refuses_what_is_too_long_and_limits_what_runs(ibm: IBM) -> None:
    with pytest.raises(BudgetExceeded, match="QPU seconds"):
        executor(budget=ct.Budget(qpu_seconds=1)).run_batch(circuits(2))
    assert ibm.jobs == {}

    rich = executor(budget=ct.Budget(qpu_seconds=60))
    (estimate,) = rich.estimate_batch(circuits(2))
    assert_right(rich.run_batch(circuits(2)))
    (job,) = ibm.jobs.values()
    assert job.request["cost"] == estimate["QPU seconds"]


PAYING = "pay-as-you-go"


@pytest.mark.parametrize(("plan", "dollars"), [("open", 0.0), (PAYING, 3.2)])
def test_a_budget_counts_dollars_tasks_and_shots(ibm: IBM, plan: str, dollars: float) -> None:
    ibm.plans = {PAID_CRN: plan}
    budget = ct.Budget(usd=100, tasks=5, shots=1000, qpu_seconds=60)
    runs = executor(instance=PAID_CRN, budget=budget)
    (estimate,) = runs.estimate_batch(circuits(2))
    assert_right(runs.run_batch(circuits(2)))

    spent = {"USD": dollars, "tasks": 1, "shots": 400, "QPU seconds": 2}
    assert budget.spent == pytest.approx(spent)
    assert estimate["USD"] == pytest.approx(estimate["QPU seconds"] * dollars / 2)
    assert runs.estimate_cost(circuits(1).circuits[0]) == pytest.approx(estimate["USD"])
    (entry,) = ct.jobs.list_jobs()
    assert entry.prices == runs.prices
    assert "cloud.ibm.com/docs" in str(entry.prices)


@pytest.mark.parametrize(
    ("plan", "budget", "needs"),
    [
        (PAYING, ct.Budget(usd=5), r"\$\d"),
        ("premium", ct.Budget(usd=5), "a number of USD that nobody can tell"),
    ],
)
def test_a_budget_in_dollars_refuses_what_is_dear_or_has_no_price(
    ibm: IBM, plan: str, budget: ct.Budget, needs: str
) -> None:
    ibm.plans = {PAID_CRN: plan}
    with pytest.raises(BudgetExceeded, match=needs):
        executor(instance=PAID_CRN, budget=budget).run_batch(circuits(2))
    assert ibm.jobs == {}


def test_a_job_that_is_cancelled_in_the_queue_has_used_nothing(ibm: IBM) -> None:
    ibm.hold = True
    budget = ct.Budget(usd=5, tasks=5, shots=1000, qpu_seconds=60)
    executor(budget=budget, time_limit=0.3).run_batch(circuits(2))
    assert budget.spent == {"USD": 0, "tasks": 0, "shots": 0, "QPU seconds": 0}


def test_without_a_budget_only_max_time_limits_a_job(ibm: IBM) -> None:
    executor().run_batch(circuits(1))
    executor(max_time="1m 30s").run_batch(circuits(1))
    assert [job.request.get("cost") for job in ibm.jobs.values()] == [None, 90]


# -- backends and accounts ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, "least_busy"])
def test_the_least_busy_backend_with_enough_qubits_is_chosen(ibm: IBM, backend: Any) -> None:
    script = qml.tape.QuantumScript([], [qml.probs(wires=range(6))], shots=10)
    wide = executor(backend=backend)
    wide.run_batch(CircuitBatch(circuits=(script,), wires=6))
    assert wide.device_name == "fake_jakarta"  # the only one with seven
    narrow = executor(backend=backend)
    narrow.run_batch(circuits(1))
    assert narrow.device_name == "fake_lima"


def test_a_backend_that_is_offline_is_not_chosen(ibm: IBM) -> None:
    ibm.offline = {"fake_lima"}
    runs = executor(backend=None)
    runs.run_batch(circuits(1))
    assert runs.device_name == "fake_manila"
    assert runs.queue_depth() == 4
    ibm.offline |= {"fake_manila"}
    with pytest.raises(ExecutorOffline, match="fake_manila runs no jobs now"):
        runs.queue_depth()


def test_a_backend_that_is_gone_lists_todays(ibm: IBM) -> None:
    with pytest.raises(InvalidSetting, match="Known: fake_jakarta, fake_lima, fake_manila"):
        executor(backend="ibmq_lima").run_batch(circuits(1))


def test_a_plan_that_costs_money_is_never_chosen_unasked(ibm: IBM) -> None:
    ibm.plans = {PAID_CRN: "premium"}
    with pytest.raises(InvalidSetting, match="none that costs money is chosen unasked"):
        executor(instance=None).run_batch(circuits(1))
    (result,) = executor(instance=PAID_CRN).run_batch(circuits(1))
    assert (result.metadata["plan"], result.metadata["pricing"]) == ("premium", "paid")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ibmqx_token": "wrong"}, "ibmqx_token is not a key of IBM Quantum"),
        ({"instance": PAID_CRN}, "does not have access to the instance"),
        ({"ibmqx_token": None}, "no account is saved"),
    ],
)
def test_an_account_that_is_none_is_told(ibm: IBM, settings: Any, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        executor(**settings).run_batch(circuits(1))


def test_no_network_is_offline(ibm: IBM) -> None:
    ibm.close()
    with pytest.raises(ExecutorOffline, match="IBM Quantum cannot be asked"):
        executor().run_batch(circuits(1))


def test_what_ibm_has_switched_off_is_mapped_with_advice() -> None:
    with pytest.warns(UserWarning, match="'ibm_quantum' was switched off"):
        assert executor(channel="ibm_quantum").channel == "ibm_quantum_platform"
    with pytest.warns(UserWarning, match="hub, group and project named an instance"):
        executor(hub="ibm-q", group="open", project="main")
    with pytest.warns(UserWarning, match="instance='a/b/c' named an instance"):
        assert executor(instance="a/b/c").instance is None
    with pytest.raises(InvalidSetting, match="Did you mean 'ibm_cloud'"):
        executor(channel="ibm_clod")


def test_the_local_channel_stays_on_this_machine() -> None:
    runs = executor(channel="local")
    assert_right(runs.run_batch(circuits(2)))
    assert runs.device_name == "fake_manila"


# -- IBMQExecutor ------------------------------------------------------------------------------


def test_ibmq_runs_a_job_for_each_circuit_and_max_jobs_at_once(ibm: IBM) -> None:
    ibm.plans = {PAID_CRN: "premium"}  # where the plan allows more
    settings = executor(instance=PAID_CRN).model_dump() | {"type": "IBMQExecutor"}
    runs = IBMQExecutor(**{**settings, "single_job": False, "max_jobs": 2})
    most, submit = 0, ibm.submit

    def watched(request: Any) -> Any:
        nonlocal most
        made = submit(request)
        most = max(most, sum(job.status == "Queued" for job in ibm.jobs.values()))
        return made

    ibm.submit = watched  # type: ignore[method-assign]
    assert_right(runs.run_batch(circuits(5)))
    assert ibm.pubs_of_jobs() == [1] * 5
    assert most == 2


def test_ibmqs_default_backend_runs_here_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="switched 'ibmq_qasm_simulator' off"):
        runs = IBMQExecutor()
    assert (runs.max_jobs, runs.shots, runs.single_job) == (20, 0, False)
    assert_right(runs.run_batch(circuits(3)))


# -- secrets -----------------------------------------------------------------------------------


def test_the_key_is_found_nowhere(
    ibm: IBM, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)  # at which IBM's SDK changes Python's own HTTP client
    before = http.client.HTTPConnection.debuglevel
    canary = ibm.token
    runs = executor(ibmqx_token=canary)
    assert_right(runs.run_batch(circuits(2)))
    ibm.break_next(SUBMIT, "401")
    with pytest.raises(CircuitRejected) as caught, warnings.catch_warnings():
        runs.run_batch(circuits(1))
    shown = [
        repr(runs),
        repr(runs.provider),
        runs.model_dump_json(),
        "".join(traceback.format_exception(caught.value)),
        caplog.text,
        *capfd.readouterr(),
        repr(pickle.dumps(runs)),
    ]
    assert not [one for one in shown if canary in one]
    secret = tmp_path / "data" / "credentials.json"  # the user's own file of secrets
    found = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path != secret and canary.encode() in path.read_bytes()
    ]
    assert found == []
    copy = BaseQExecutor.from_data(json.loads(runs.model_dump_json()))
    assert_right(copy.run_batch(circuits(2)))
    assert http.client.HTTPConnection.debuglevel == before
    assert "print" not in vars(http.client)


def test_the_journal_holds_no_key(ibm: IBM, tmp_path: Path) -> None:
    executor(ibmqx_token=ibm.token).run_batch(circuits(1))
    with sqlite3.connect(tmp_path / "data" / "jobs.sqlite") as db:
        dump = "\n".join(db.iterdump())
    assert re.search("fake_manila", dump)
    assert ibm.token not in dump
    assert ibm.token.encode().hex().upper() not in dump


# -- a crash -----------------------------------------------------------------------------------


@ct.electron(retries=1)
def measure(folder: str) -> list[float]:
    """Ends its own process once its job is submitted, the first time that it runs."""
    first = Path(folder, "first")
    if not first.exists():
        first.touch()
        threading.Thread(target=_end_once_submitted, daemon=True).start()
    settings: dict[str, Any] = {
        "ibmqx_token": "env:IBM_KEY",
        "instance": CRN,
        "poll_interval": 0.05,
    }
    runs = QiskitExecutor(device="sampler", shots=200, **settings)
    script = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))], shots=200)
    results = runs.run_batch(CircuitBatch(circuits=(script,) * 3, wires=1))
    return [float(one.value) for one in results]


def _end_once_submitted() -> None:
    until(lambda: any(entry.job_id for entry in ct.jobs.list_jobs()), 60)
    os._exit(9)


def test_an_electron_that_is_killed_finds_its_job_wherever_it_ran(ibm: IBM, tmp_path: Path) -> None:
    ibm.hold = True
    dispatch_id = ct.dispatch(ct.lattice(lambda: measure(str(tmp_path))))()
    until(lambda: any(entry.job_id for entry in ct.jobs.list_jobs()), 60)
    # Another backend is the least busy one by now.
    ibm.waiting = {"fake_manila": 0, "fake_lima": 50, "fake_jakarta": 60}
    asked = ibm.count(SUBMIT)
    until(lambda: ibm.count("GET /backends/*/configuration") > 1, 60)  # by the second process
    ibm.hold = False

    result = ct.get_result(dispatch_id, wait=True)

    np.testing.assert_allclose(result.result, [-1, -1, -1], atol=0.35)
    assert (asked, ibm.count(SUBMIT), len(ibm.jobs)) == (1, 1, 1)
    (entry,) = ct.jobs.list_jobs()
    assert (entry.device, entry.state) == ("fake_lima", "COMPLETED")
