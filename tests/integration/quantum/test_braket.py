"""`BraketQubitExecutor` against a stand-in for Amazon Braket, S3 and STS, over HTTP."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

import qcov as ct
from qcov import jobs, policy
from qcov.conformance import check_executor
from qcov.errors import (
    BudgetExceeded,
    CircuitError,
    CircuitRejected,
    CircuitTimedOut,
    ExecutorOffline,
    InvalidSetting,
    JobLost,
    QuotaExceeded,
    TransientFailure,
)
from qcov.executor import BraketQubitExecutor
from qcov.policy import ErrorKind
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.braket_aws import was_sent
from qcov.qexecutors.provider import JobState
from tests.services.s3 import Server
from tests.standins.clocks import late_once

pytest.importorskip("braket.default_simulator", reason="Braket's SDK supports Python 3.11 and 3.12")

from tests.standins.braket import DM1, FORTE, GARNET, SV1, Braket, Device  # needs it

SECRET = "canary-of-a-secret-key"
GATES = [qml.RX(0.3, 0), qml.RY(1.1, 1), qml.CNOT([0, 1]), qml.CRY(0.9, [1, 2]), qml.T(0)]
OBSERVABLE = 0.4 * qml.X(0) @ qml.Z(1) + 0.7 * qml.Y(2) - 0.2 * qml.Z(0)


@pytest.fixture
def braket(_s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Braket]:
    """The stand-in, and the variables by which boto3 finds it."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AMZN_BRAKET_OUT_S3_BUCKET", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for service in ("S3", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", _s3_server.address)
    bucket = boto3.resource("s3").Bucket("results")
    bucket.create()
    server = Braket(boto3.client("s3"))
    monkeypatch.setenv("BRAKET_ENDPOINT", server.url)
    yield server
    server.close()
    bucket.objects.all().delete()
    bucket.delete()


def executor(device: Device = FORTE, **settings: Any) -> BraketQubitExecutor:
    settings = {"poll_interval": 0.02, "retry_delay": 0.0, **settings}
    return BraketQubitExecutor(device.arn, s3_destination_folder="s3://results/some", **settings)


def script(*measurements: Any, shots: Any = 1000, angle: float = 0.3) -> Any:
    return qml.tape.QuantumScript([qml.RX(angle, 0), *GATES[1:]], measurements, shots=shots)


def run(runs: BraketQubitExecutor, *circuits: Any, wires: Any = 3) -> list[Any]:
    return [one.value for one in runs.run_batch(CircuitBatch(circuits=circuits, wires=wires))]


def exact(*measurements: Any) -> Any:
    return qml.execute([script(*measurements, shots=None)], qml.device("default.qubit", wires=3))[0]


# -- values --------------------------------------------------------------------------------------

SAMPLED = [
    qml.expval(qml.Z(0)), qml.expval(qml.Y(2) @ qml.X(0)), qml.expval(qml.Hadamard(1)),
    qml.expval(OBSERVABLE), qml.expval(qml.Hermitian(np.diag([1.0, 2, 3, 5]), [2, 0])),
    qml.expval(qml.Projector([1, 0], [2, 1])), qml.var(qml.X(1)), qml.probs(wires=[2, 0]),
    qml.probs(op=qml.X(1)), qml.expval(qml.Identity(1)), qml.probs(),
]  # fmt: skip


@pytest.mark.parametrize("device", [SV1, FORTE, GARNET], ids=lambda one: one.arn[-6:])
def test_shots_come_near_what_is_exact(braket: Braket, device: Device) -> None:
    values = run(executor(device), *[script(one, shots=5000) for one in SAMPLED])
    for measurement, value in zip(SAMPLED, values, strict=True):
        expected = exact(measurement)
        np.testing.assert_allclose(value, expected, atol=0.12, err_msg=str(measurement))
        assert np.shape(value) == np.shape(expected)


@pytest.mark.parametrize("device", [SV1, DM1], ids=["sv1", "dm1"])
def test_simulators_run_without_shots(braket: Braket, device: Device) -> None:
    analytic = [qml.var(qml.Z(0) + qml.X(1)), qml.purity([0]), qml.density_matrix([1, 2])]
    measured = [*SAMPLED, *analytic, *([qml.state()] if device is SV1 else [])]
    values = run(executor(device), *[script(one, shots=None) for one in measured])
    for measurement, value in zip(measured, values, strict=True):
        np.testing.assert_allclose(value, exact(measurement), atol=1e-9, err_msg=str(measurement))


def test_noise_runs_where_a_device_takes_it(braket: Braket) -> None:
    noisy = qml.tape.QuantumScript([qml.X(0), qml.BitFlip(0.2, 0)], [qml.expval(qml.Z(0))])
    assert run(executor(DM1), noisy) == [pytest.approx(-0.6)]
    with pytest.raises(CircuitRejected, match="BitFlip"):
        run(executor(SV1), noisy)


@pytest.mark.parametrize("measurement", [qml.sample(), qml.counts(wires=[0, 2])], ids=str)
@pytest.mark.parametrize("shots", [50, (10, 30)])
def test_samples_counts_and_shot_vectors(braket: Braket, measurement: Any, shots: Any) -> None:
    (value,) = run(executor(GARNET), script(measurement, shots=shots))
    parts = value if isinstance(shots, tuple) else (value,)
    sizes = [sum(one.values()) if isinstance(one, dict) else len(one) for one in parts]
    assert sizes == list(shots if isinstance(shots, tuple) else (shots,))
    assert len(braket.tasks) == 1


def test_labels_stand_in_the_devices_order(braket: Braket) -> None:
    circuit = qml.tape.QuantumScript([qml.X("b")], [qml.probs(), qml.probs("b")], shots=10)
    both, one = run(executor(FORTE), circuit, wires=("a", "b"))[0]
    np.testing.assert_array_equal(both, [0, 1, 0, 0])
    np.testing.assert_array_equal(one, [0, 1])


@pytest.mark.parametrize(
    ("device", "circuit", "said"),
    [
        (FORTE, script(qml.expval(qml.Z(0)), shots=None), "needs shots"),
        (FORTE, script(qml.expval(qml.Z(0)), shots=5001), "5000 shots at most"),
        (FORTE, script(qml.classical_shadow([0]), shots=10), "a task for each of them"),
        (FORTE, script(qml.var(qml.Z(0) + qml.X(1)), shots=10), "Cannot split up"),
        (FORTE, script(qml.expval(qml.Z(0)), angle=float("nan")), "not a finite number"),
        (SV1, script(qml.sample(), shots=None), "needs shots"),
        (DM1, qml.tape.QuantumScript([qml.X(w) for w in range(18)], [qml.purity(0)]), "17 qubits"),
    ],
    ids=["analytic", "shots", "shadows", "variance", "nan", "samples", "wires"],
)  # fmt: skip
def test_what_cannot_run_is_rejected_and_costs_nothing(
    braket: Braket, device: Device, circuit: Any, said: str
) -> None:
    with pytest.raises(CircuitRejected, match=said):
        run(executor(device), circuit, wires=None)
    right = script(qml.expval(qml.Z(0)), shots=circuit.shots.total_shots or None)
    if device is SV1:
        refused, value = run(executor(device), circuit, right)
        assert isinstance(refused, CircuitRejected)
        assert value == pytest.approx(exact(qml.expval(qml.Z(0))))
    else:
        assert not braket.tasks


# -- tasks ---------------------------------------------------------------------------------------


def ansatz(x: Any) -> Any:
    for wire in range(4):
        qml.RX(x[wire], wire)
    for wire in range(3):
        qml.CNOT([wire, wire + 1])
    return qml.expval(qml.Z(3))


@pytest.mark.parametrize(("device", "tasks"), [(GARNET, 1), (FORTE, 8)], ids=["set", "single"])
def test_a_gradient_of_eight_circuits_is_one_program_set(
    braket: Braket, device: Device, tasks: int
) -> None:
    qnode = qml.QNode(ansatz, qml.device("default.qubit", wires=4), diff_method="parameter-shift")
    ours = ct.qelectron(qml.set_shots(qnode, 4000), executors=executor(device))
    x = qml.numpy.array([0.1, 0.8, 1.3, 0.4], requires_grad=True)
    gradient = qml.gradients.param_shift(ours)(x)
    np.testing.assert_allclose(gradient, qml.grad(qnode)(x), atol=0.1)
    assert (len(braket.tasks), braket.shots) == (tasks, 8 * 4000)


def test_large_batches_become_as_few_sets_as_the_device_takes(braket: Braket) -> None:
    circuits = [script(qml.expval(qml.Z(0)), shots=100, angle=0.01 * one) for one in range(250)]
    values = run(executor(GARNET), *circuits)
    np.testing.assert_allclose(values, [np.cos(0.01 * one) for one in range(250)], atol=0.7)
    assert sorted(_programs(task) for task in braket.tasks.values()) == [50, 100, 100]


def test_sets_have_no_more_shots_than_the_device_takes(braket: Braket) -> None:
    few = Device(arn=GARNET.arn, shot_price=0.00145, sets=100, set_shots=10_000)
    braket.devices = [few]
    run(executor(few), *[script(qml.expval(qml.Z(0)), shots=4000, angle=a) for a in range(5)])
    assert [_programs(task) for task in braket.tasks.values()] == [2, 2, 1]


@pytest.mark.parametrize(
    ("shots", "tasks"),
    [([40, 10, 40, 40, 10], [1, 1, 1, 2]), ([7, 7, 7], [3]), ([5, 5, 6], [1, 2])],
    ids=str,
)
def test_circuits_of_a_set_have_the_same_shots(
    braket: Braket, shots: list[int], tasks: list[int]
) -> None:
    circuits = [script(qml.sample(wires=0), shots=one) for one in shots]
    assert [len(value) for value in run(executor(GARNET), *circuits)] == shots
    assert sorted(_programs(task) for task in braket.tasks.values()) == tasks
    assert braket.shots == sum(shots)


def _programs(task: Any) -> int:
    return len(json.loads(task.request["action"]).get("programs", [None]))


def test_many_tasks_are_looked_up_together(braket: Braket) -> None:
    braket.looks = 5
    values = run(
        executor(FORTE), *[script(qml.expval(qml.Z(0)), angle=0.05 * one) for one in range(40)]
    )
    np.testing.assert_allclose(values, np.cos(0.05 * np.arange(40)), atol=0.2)
    assert len(braket.tasks) == 40
    # Without lists of tasks there would be one request for each look at each task.
    assert braket.requests["SearchQuantumTasks"] <= 8
    assert braket.requests["GetQuantumTask"] == 0


def test_where_tasks_may_not_be_listed_each_is_asked_for(braket: Braket) -> None:
    braket.fault("SearchQuantumTasks", *["denied"] * 50)
    circuits = [script(qml.expval(qml.Z(0)), angle=0.1 * one) for one in range(8)]
    np.testing.assert_allclose(
        run(executor(FORTE), *circuits), np.cos(0.1 * np.arange(8)), atol=0.2
    )


def test_no_more_tasks_wait_than_are_allowed(braket: Braket) -> None:
    most = 0
    braket.looks = 3
    look = braket._looked_at

    def counted(task: Any) -> Any:
        nonlocal most
        open_ones = [one for one in braket.tasks.values() if one.status in ("QUEUED", "RUNNING")]
        most = max(most, len(open_ones))
        return look(task)

    braket._looked_at = counted  # type: ignore[method-assign]  # to see, not to change
    run(
        executor(FORTE, max_parallel=3),
        *[script(qml.expval(qml.Z(0)), angle=0.1 * one) for one in range(10)],
    )
    assert most == 3
    assert len(braket.tasks) == 10


def test_tasks_carry_tags_and_options(braket: Braket) -> None:
    options = {"tags": {"project": "x"}, "reservation_arn": "arn:aws:braket:us-east-1:1:r/1"}
    run(executor(FORTE, run_kwargs=options), script(qml.expval(qml.Z(0))))
    (task,) = braket.tasks.values()
    assert task.request["tags"] == {"project": "x", "qcov-token": task.request["clientToken"]}
    assert task.request["associations"][0]["arn"] == "arn:aws:braket:us-east-1:1:r/1"
    assert task.key.startswith("some/")
    assert any("qcov/" in headers for headers in braket.headers)


def test_results_go_to_brakets_own_bucket_by_default(braket: Braket) -> None:
    by_default = BraketQubitExecutor(FORTE.arn, poll_interval=0.02)
    for _ in range(2):
        assert run(by_default, script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]
    buckets = {task.request["outputS3Bucket"] for task in braket.tasks.values()}
    assert buckets == {"amazon-braket-us-east-1-123456789012"}


# -- nothing is paid twice -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        ["drop after"], ["drop before"], ["broken"] * 2, ["drop after"] * 4, ["broken"] * 4,
        ["busy"], ["drop after", "busy", "busy"], ["drop after", "quota"],
        ["busy", "drop after", "busy"], ["drop after", *["busy"] * 4],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed yet"])
def test_a_task_is_made_once_whatever_becomes_of_answers(
    braket: Braket, faults: list[str], listed: bool
) -> None:
    braket.listed = listed
    braket.fault("CreateQuantumTask", *faults)
    assert run(executor(GARNET), script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]
    assert len(braket.tasks) == 1
    assert braket.usd == pytest.approx(0.30 + 1000 * 0.00145)


def test_a_task_that_may_have_been_made_is_no_refusal(braket: Braket) -> None:
    provider = executor(FORTE).provider
    programs = provider.translate(CircuitBatch(circuits=(script(qml.probs()),))).programs
    braket.fault("CreateQuantumTask", "drop after", "busy", "busy")
    with pytest.raises(TransientFailure) as lost:
        provider.submit(programs, "a" * 32)
    assert provider.sent(lost.value) is None
    assert (len(braket.tasks), braket.requests["CreateQuantumTask"]) == (1, 1)


def test_a_refusal_after_other_attempts_says_nothing() -> None:
    from botocore.exceptions import ClientError

    def sent(attempts: int) -> bool | None:
        metadata = {"HTTPStatusCode": 429, "RetryAttempts": attempts}
        return was_sent(ClientError({"ResponseMetadata": metadata}, "CreateQuantumTask"))

    assert (sent(0), sent(1)) == (False, None)


def test_a_task_is_found_by_its_token(braket: Braket) -> None:
    provider = executor(FORTE).provider
    programs = provider.translate(CircuitBatch(circuits=(script(qml.probs()),))).programs
    first = provider.submit(programs, "a" * 32)
    assert provider.submit(programs, "a" * 32) == first
    assert provider.find("a" * 32) == first
    assert provider.find("b" * 32) is None
    assert len(braket.tasks) == 1


def test_the_same_circuits_have_the_same_keys(braket: Braket) -> None:
    def keys(**how: Any) -> list[str]:
        batch = CircuitBatch(circuits=(script(qml.probs(), **how),))
        return [one.key for one in executor(GARNET).provider.translate(batch).programs]

    assert keys() == keys()
    assert len({*keys(), *keys(shots=999), *keys(angle=0.31)}) == 3


_MITIGATED = {"device_parameters": {"errorMitigation": "debias"}}


@pytest.mark.parametrize(
    ("run_kwargs", "another"),
    [
        (_MITIGATED, True),
        ({"experimental_capabilities": "ALL"}, True),
        ({"tags": {"a": "b"}}, False),
    ],
    ids=str,
)
def test_a_task_is_taken_over_only_by_who_would_make_the_same(
    braket: Braket, run_kwargs: dict[str, Any], another: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    braket.held = True
    braket.fault("CancelQuantumTask", *["broken"] * 9)
    first = executor(FORTE, time_limit=600, run_kwargs=run_kwargs)
    with monkeypatch.context() as patch:
        late_once(patch, lambda: braket.tasks)
        (late,) = run(first, script(qml.expval(qml.Z(0))))
    assert isinstance(late, JobLost)  # nobody says that it is cancelled
    braket.held = False
    assert run(executor(FORTE), script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]
    assert len(braket.tasks) == 1 + another


@pytest.mark.parametrize("others", [1, 8], ids=["one by one", "listed"])
def test_a_task_that_braket_does_not_know_is_left_out(braket: Braket, others: int) -> None:
    provider = executor(FORTE).provider
    programs = provider.translate(CircuitBatch(circuits=(script(qml.probs()),))).programs
    made = [provider.submit(programs, f"{number:032x}") for number in range(others + 1)]
    del braket.tasks[made[0]]
    views = provider.look(made)
    assert views.keys() == set(made[1:])
    assert {view.state for view in views.values()} == {JobState.COMPLETED}


@pytest.mark.parametrize("fault", ["busy", "broken", "drop before", "expired"])
def test_waiting_outlasts_what_passes(braket: Braket, fault: str) -> None:
    braket.fault("GetQuantumTask", *[fault] * 4)  # more than boto3 tries by itself
    assert run(executor(SV1), script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]
    assert len(braket.tasks) == 1


_WITHOUT_THE_SDK = """
import sys
sys.modules["braket"] = None  # cannot be imported now
import pennylane as qml
from qcov.executor import BraketQubitExecutor
from qcov.qexecutors.base import CircuitBatch

executor = BraketQubitExecutor(
    {arn!r}, s3_destination_folder="s3://results/some", poll_interval=0.02
)
circuits = [qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))], shots=10)] * 2
print([float(one.value) for one in executor.run_batch(CircuitBatch(circuits=tuple(circuits)))])
"""


@pytest.mark.process
@pytest.mark.parametrize("device", [GARNET, FORTE, SV1], ids=["set", "single", "simulator"])
def test_brakets_sdk_is_not_needed(braket: Braket, device: Device) -> None:
    command = [sys.executable, "-c", _WITHOUT_THE_SDK.format(arn=device.arn)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.stdout == "[-1.0, -1.0]\n", ran.stderr


_DIES = """
import os, pennylane as qml
from qcov.executor import BraketQubitExecutor
from qcov.qexecutors.base import CircuitBatch

executor = BraketQubitExecutor({arn!r}, s3_destination_folder="s3://results/some")
provider = executor.provider
asked = provider.submit

def submit(programs, token):
    asked(programs, token)
    os._exit(9)

if {unanswered}:
    provider.submit = submit
else:
    provider.look = lambda job_ids: os._exit(9)
circuits = [qml.tape.QuantumScript([qml.RX(angle, 0)], [qml.expval(qml.Z(0))], shots=4000)
            for angle in (0.0, 1.0, 2.0)]
executor.run_batch(CircuitBatch(circuits=tuple(circuits)))
"""


@pytest.mark.process
@pytest.mark.parametrize("unanswered", [True, False], ids=["no answer", "waiting"])
@pytest.mark.parametrize(("device", "tasks"), [(GARNET, 1), (FORTE, 3)], ids=["set", "single"])
def test_what_a_program_that_died_has_asked_for_is_found_again(
    braket: Braket, device: Device, tasks: int, unanswered: bool
) -> None:
    braket.held = True
    code = _DIES.format(arn=device.arn, unanswered=unanswered)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    braket.held = False
    job = jobs.list_jobs()[0]
    values = jobs.attach(job.name)
    made = 1 if unanswered else tasks  # of single ones the others were never asked for
    assert len(braket.tasks) == made
    known = [value for value in values if not isinstance(value, Exception)]
    assert len(known) == (3 if made == tasks else made)
    np.testing.assert_allclose(known, np.cos([0.0, 1.0, 2.0])[: len(known)], atol=0.2)


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "error", "said"),
    [
        ("busy", ErrorKind.TRANSIENT, TransientFailure, "Rate exceeded"),
        ("quota", ErrorKind.QUOTA, QuotaExceeded, "raise the account's quota"),
        ("spent", ErrorKind.QUOTA, QuotaExceeded, "Raise the spending limit"),
        ("invalid", ErrorKind.PERMANENT, CircuitRejected, "the program is wrong"),
        ("denied", ErrorKind.PERMANENT, CircuitError, "must be allowed"),
        ("expired", ErrorKind.QUOTA, QuotaExceeded, "aws sso login"),
        ("offline", ErrorKind.OFFLINE, ExecutorOffline, "Choose another device"),
        ("retired", ErrorKind.OFFLINE, ExecutorOffline, "Choose another device"),
    ],
)
def test_refusals_say_what_they_mean(
    braket: Braket, fault: str, kind: ErrorKind, error: type[Exception], said: str
) -> None:
    braket.fault("CreateQuantumTask", *[fault] * 3)
    runs = executor(FORTE)
    with pytest.raises(error, match=said) as failed:
        run(runs, script(qml.expval(qml.Z(0))))
    assert runs.classify(failed.value) is kind
    assert FORTE.arn in str(failed.value)
    assert runs.provider.sent(failed.value) is False
    assert not braket.tasks


def test_a_service_that_is_gone_is_worth_another_try_and_another_executor(braket: Braket) -> None:
    braket.close()
    with pytest.raises(ExecutorOffline, match="EndpointConnectionError") as failed:
        run(executor(FORTE), script(qml.expval(qml.Z(0))))
    assert policy.classify(failed.value) is ErrorKind.OFFLINE


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION"])
def test_what_boto3_misses_is_said(
    braket: Braket, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (variable, "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(CircuitError, match="credentials and a region") as failed:
        run(executor(SV1), script(qml.expval(qml.Z(0))))
    assert policy.classify(failed.value) is ErrorKind.PERMANENT


def test_a_failed_task_says_the_providers_reason_and_costs_nothing(braket: Braket) -> None:
    braket.fails = "the ions escaped"
    (one,) = executor(FORTE).run_batch(CircuitBatch(circuits=(script(qml.probs()),)))
    assert isinstance(one.value, CircuitError)
    assert "failed: the ions escaped" in str(one.value)
    assert one.job_id in braket.tasks
    assert one.cost["USD"] == 0


def test_at_its_time_limit_a_task_is_cancelled(
    braket: Braket, monkeypatch: pytest.MonkeyPatch
) -> None:
    braket.held = braket.slow_to_cancel = True
    late_once(monkeypatch, lambda: braket.tasks)
    (value,) = run(executor(FORTE, poll_timeout_seconds=600), script(qml.probs()))
    assert isinstance(value, CircuitTimedOut)
    assert [task.status for task in braket.tasks.values()] == ["CANCELLED"]


def test_cancelling_says_how_the_task_stands(braket: Braket) -> None:
    provider = executor(FORTE).provider
    programs = provider.translate(CircuitBatch(circuits=(script(qml.probs()),))).programs
    done, waits = (provider.submit(programs, token * 32) for token in "ab")
    assert provider.look([done])[done].state is JobState.COMPLETED
    braket.held = True
    view = provider.look([waits])[waits]
    assert (view.state, view.position) == (JobState.QUEUED, 2)
    assert provider.cancel(done) is JobState.COMPLETED
    assert provider.cancel(waits) is JobState.CANCELLED
    assert provider.used(waits) == {"USD": 0, "tasks": 0, "shots": 0}


# -- results -------------------------------------------------------------------------------------


def truncated(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"measurements": body["measurements"][:500]}


def foreign(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"taskMetadata": {"id": "arn:another"}}


def without_a_qubit(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"measuredQubits": body["measuredQubits"][:-1]}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncated, "not complete: 500 shots of 1000"),
        (foreign, "are of arn:another"),
        (without_a_qubit, "no results of qubits"),
        (lambda body: json.dumps(body)[:-40], "is not complete"),
        (lambda body: None, "NoSuchKey"),
    ],
    ids=["truncated", "foreign", "qubit", "cut", "missing"],
)
def test_spoilt_results_are_never_values(
    braket: Braket, spoil: Callable[[Any], Any], said: str
) -> None:
    braket.spoil = spoil
    (value,) = run(executor(FORTE, patience=0.1), script(qml.probs()))
    assert isinstance(value, JobLost)
    assert said in str(value)
    assert len(braket.tasks) == 1


def test_results_that_come_late_are_waited_for(braket: Braket) -> None:
    kept: list[str] = []

    def late(body: Any) -> None:
        kept.append(json.dumps(body))

    braket.spoil = late
    look = braket._looked_at

    def looked_at(task: Any) -> Any:
        if kept and braket.requests["GetQuantumTask"] > 4:
            braket.write(task, "results.json", kept[0])
        return look(task)

    braket._looked_at = looked_at  # type: ignore[method-assign]  # S3 shows files with a delay
    assert run(executor(FORTE), script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]


def reordered(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"programResults": body["programResults"][::-1]}


def fewer(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"programResults": body["programResults"][1:]}


def others(body: dict[str, Any]) -> dict[str, Any]:
    first, *rest = body["programResults"]
    return body | {"programResults": [first, first, *rest[1:]]}


def rewritten(body: dict[str, Any]) -> dict[str, Any]:
    source = {"source": "the compiler's own words"}
    return body | {"programResults": [one | {"source": source} for one in body["programResults"]]}


@pytest.mark.parametrize("spoil", [reordered, rewritten, None])
def test_results_of_sets_are_brought_into_order(braket: Braket, spoil: Any) -> None:
    braket.spoil = spoil
    angles = 0.5 * np.arange(6)
    values = run(executor(GARNET), *[script(qml.expval(qml.Z(0)), angle=one) for one in angles])
    np.testing.assert_allclose(values, np.cos(angles), atol=0.15)


@pytest.mark.parametrize(
    ("spoil", "said"), [(fewer, "of 5 programs, not of 6"), (others, "not those of its programs")]
)
def test_sets_that_cannot_be_told_apart_are_refused(
    braket: Braket, spoil: Callable[[Any], Any], said: str
) -> None:
    braket.spoil = spoil
    values = run(
        executor(GARNET), *[script(qml.expval(qml.Z(0)), angle=0.5 * one) for one in range(6)]
    )
    assert all(isinstance(value, JobLost) and said in str(value) for value in values)


def test_one_program_of_a_set_may_fail(braket: Braket) -> None:
    def broken(body: dict[str, Any]) -> dict[str, Any]:
        failure = {"failureReason": "no route", "retryable": False, "category": "COMPILATION"}
        body["programResults"][1]["executableResults"] = [{"failureMetadata": failure}]
        return body

    braket.spoil = broken
    values = run(
        executor(GARNET), *[script(qml.expval(qml.Z(0)), angle=one) for one in (0.0, 1.0, 0.0)]
    )
    assert values[0] == values[2] == 1
    assert isinstance(values[1], CircuitError)
    assert "no route" in str(values[1])


def test_sets_may_lie_in_many_files(braket: Braket) -> None:
    def spread(body: dict[str, Any]) -> dict[str, Any]:
        (task,) = braket.tasks.values()
        for number, program in enumerate(body["programResults"]):
            folder = f"programs/{number}"
            braket.write(task, f"{folder}/source.json", json.dumps(program["source"]))
            braket.write(task, f"{folder}/0.json", json.dumps(program["executableResults"][0]))
            named = program | {"source": "source.json", "executableResults": ["0.json"]}
            braket.write(task, f"{folder}/results.json", json.dumps(named))
        braket.write(task, "metadata.json", json.dumps(body["taskMetadata"]))
        return {
            "programResults": [f"programs/{number}/results.json" for number in range(3)],
            "taskMetadata": "metadata.json",
            "s3Location": ["results", task.key],
        }

    braket.spoil = spread
    angles = [0.0, 0.8, np.pi]
    values = run(executor(GARNET), *[script(qml.expval(qml.Z(0)), angle=one) for one in angles])
    np.testing.assert_allclose(values, np.cos(angles), atol=0.1)


def test_probabilities_do_for_shots(braket: Braket) -> None:
    def as_probabilities(body: dict[str, Any]) -> dict[str, Any]:
        words = ["".join(map(str, row)) for row in body.pop("measurements")]
        share = {word: words.count(word) / len(words) for word in words}
        return body | {"measurementProbabilities": share}

    braket.spoil = as_probabilities
    (value,) = run(executor(FORTE), script(qml.expval(OBSERVABLE), shots=3000))
    assert value == pytest.approx(exact(qml.expval(OBSERVABLE)), abs=0.12)
    halves = run(executor(FORTE), script(qml.expval(qml.Z(1)), shots=(1000, 1000)))[0]
    np.testing.assert_allclose(halves, exact(qml.expval(qml.Z(1))), atol=0.15)


def test_shot_vectors_need_all_their_shots(braket: Braket) -> None:
    braket.successful = 15
    (value,) = run(executor(FORTE), script(qml.expval(qml.Z(0)), shots=(10, 10)))
    assert isinstance(value, CircuitError)
    assert "only 15 of 20 shots" in str(value)


def test_shots_that_did_not_succeed_are_not_charged(braket: Braket) -> None:
    braket.successful = 700
    (one,) = executor(FORTE).run_batch(CircuitBatch(circuits=(script(qml.expval(qml.Z(0))),)))
    assert one.value == pytest.approx(0.95, abs=0.1)
    assert one.cost == {"tasks": 1, "shots": 700, "USD": pytest.approx(braket.usd)}
    assert braket.usd == pytest.approx(0.30 + 700 * 0.08)


# -- the device ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "online", "depth"),
    [
        ({}, True, 4),
        ({"queue": ">4000"}, True, 4001),
        ({"online": False}, False, None),
        ({"windows": []}, True, 4),
    ],
    ids=["online", "long queue", "offline", "no hours"],
)
def test_the_queue_and_whether_the_device_runs(
    braket: Braket, conditions: dict[str, Any], online: bool, depth: int | None
) -> None:
    for name, value in conditions.items():
        setattr(braket, name, value)
    runs = executor(FORTE)
    assert runs.provider.online() is online
    if online:
        assert runs.queue_depth() == depth
    else:
        with pytest.raises(ExecutorOffline):
            runs.queue_depth()


def test_capabilities_are_the_devices(braket: Braket) -> None:
    qpu, simulator = executor(FORTE).capabilities, executor(SV1).capabilities
    assert (qpu.wires, qpu.shots, qpu.analytic) == (20, 5000, False)
    assert (simulator.wires, simulator.analytic) == (34, True)


def test_a_cluster_leaves_a_device_that_is_offline(braket: Braket) -> None:
    braket.fault("CreateQuantumTask", "offline")
    runs = ct.QCluster([executor(FORTE, retries=0), executor(GARNET)], selector="in-order")

    @ct.qelectron(executors=runs)
    @qml.set_shots(100)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def flip() -> Any:
        qml.X(0)
        return qml.expval(qml.Z(0))

    assert flip() == -1
    assert [task.request["deviceArn"] for task in braket.tasks.values()] == [GARNET.arn]


# -- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "usd"),
    [(FORTE, 2 * 0.30 + 2000 * 0.08), (GARNET, 0.30 + 2000 * 0.00145), (SV1, 2 * 3 / 60 * 0.075)],
    ids=["single", "set", "simulator"],
)
def test_estimates_and_bills_are_the_providers(braket: Braket, device: Device, usd: float) -> None:
    circuits = tuple(script(qml.expval(qml.Z(0)), angle=one) for one in (0.1, 0.2))
    batch = CircuitBatch(circuits=circuits, wires=3)
    runs = executor(device)
    assert sum(job["USD"] for job in runs.estimate_batch(batch)) == pytest.approx(usd)
    results = runs.run_batch(batch)
    assert sum(one.cost["USD"] for one in results) == pytest.approx(usd)
    assert braket.usd == pytest.approx(usd)
    assert runs.prices == "https://aws.amazon.com/braket/pricing/, 2026-07-23"


def test_what_a_device_says_of_its_price_goes_before_the_table_but_not_the_users(
    braket: Braket, tmp_path: Path
) -> None:
    dear = Device(arn=FORTE.arn, shot_price=0.5)
    braket.devices = [dear]
    assert executor(dear).estimate_cost(script(qml.probs(), shots=10)) == pytest.approx(5.3)
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "prices.toml").write_text(
        '[[price]]\nprovider = "Amazon Braket"\ndevice = "*Forte*"\nusd_per_shot = 0.01\n'
    )
    assert executor(dear).estimate_cost(script(qml.probs(), shots=10)) == pytest.approx(0.1)


def test_a_budget_is_not_exceeded(braket: Braket) -> None:
    runs = executor(GARNET, budget=ct.Budget(usd=4))
    assert not isinstance(run(runs, script(qml.probs()))[0], Exception)
    assert not isinstance(run(runs, script(qml.probs()))[0], Exception)
    with pytest.raises(BudgetExceeded):
        run(runs, script(qml.probs()))
    assert braket.usd == pytest.approx(3.5)


def test_what_has_no_known_price_has_no_budget(braket: Braket) -> None:
    unheard = Device(arn="arn:aws:braket:us-east-1::device/qpu/new/One", shot_price=0.01)
    braket.devices = [unheard]
    runs = executor(unheard)
    assert runs.estimate_cost(script(qml.probs())) is None
    with pytest.raises(BudgetExceeded):
        run(executor(unheard, budget=ct.Budget(usd=100)), script(qml.probs()))
    assert not braket.tasks
    (value,) = run(executor(unheard, budget=ct.Budget(tasks=1)), script(qml.expval(qml.Z(0))))
    assert value == pytest.approx(0.95, abs=0.1)


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device_arn": "sv1"}, "must be the ARN of a device"),
        ({"device_arn": None}, "must be given"),
        ({"s3_destination_folder": ("only",)}, "'bucket', 'prefix'"),
        ({"s3_destination_folder": "s3://bucket"}, "'bucket', 'prefix'"),
        ({"s3_destination_folder": 3}, "'bucket', 'prefix'"),
        ({"max_parallel": 0}, "a whole number above 0"),
        ({"max_connections": "many"}, "a whole number above 0"),
        ({"run_kwargs": {"verbatim": True}}, "is not an option of tasks"),
        ({"run_kwargs": 3}, "must be a dictionary"),
        ({"poll_interval": 1, "poll_interval_seconds": 2}, "another name of poll_interval"),
        ({"device": "sv1"}, "is not a setting"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        BraketQubitExecutor(**{"device_arn": SV1.arn, **settings})


def test_the_names_of_covalent_are_known() -> None:
    runs = BraketQubitExecutor(
        device_arn=SV1.arn, shots=1024, s3_destination_folder=(), poll_timeout_seconds=60,
        poll_interval_seconds=2, max_retries=5, parallel=True, max_parallel=7, max_connections=50,
        max_jobs=3, run_kwargs={},
    )  # fmt: skip
    assert (runs.time_limit, runs.poll_interval, runs.retries) == (60, 2, 5)
    assert (runs.poll_timeout_seconds, runs.poll_interval_seconds, runs.max_retries) == (60, 2, 5)
    assert runs.s3_destination_folder is None
    assert BraketQubitExecutor(SV1.arn).poll_timeout_seconds == 432_000


def test_defaults_may_stand_in_the_settings_by_all_names(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "qcov.conf").write_text(
        "[qelectron.BraketQubitExecutor]\n"
        f'device_arn = "{SV1.arn}"\nmax_retries = 7\ns3_destination_folder = ["a", "b"]\n'
    )
    runs = BraketQubitExecutor()
    assert (runs.device_arn, runs.retries, runs.s3_destination_folder) == (SV1.arn, 7, ("a", "b"))
    assert BraketQubitExecutor(FORTE.arn, max_retries=1).retries == 1
    assert BraketQubitExecutor(FORTE.arn, retries=1).retries == 1


def test_tasks_of_a_hybrid_job_say_so(braket: Braket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMZN_BRAKET_JOB_TOKEN", "of-the-job")
    run(executor(FORTE), script(qml.probs()))
    assert [task.request["jobToken"] for task in braket.tasks.values()] == ["of-the-job"]


def test_folders_are_text_or_pairs() -> None:
    for folder in ("s3://bucket/a/b", "bucket/a/b/", ("bucket", "a/b"), ["bucket", "a/b"]):
        runs = BraketQubitExecutor(SV1.arn, s3_destination_folder=folder)
        assert runs.s3_destination_folder == ("bucket", "a/b")


def test_a_session_of_ones_own_is_used_and_stays_here(
    braket: Braket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from braket.aws import AwsSession

    session = boto3.Session(
        aws_access_key_id="own", aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for own in (session, AwsSession(boto_session=session)):
        runs = executor(FORTE, aws_session=own)
        assert run(runs, script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]
        assert "Credential=own/" in braket.headers[-1]
        assert SECRET.encode() not in pickle.dumps(runs)
        assert runs.aws_session is None
        assert pickle.loads(pickle.dumps(runs)) == runs


def test_it_travels_as_pickle_and_as_json(braket: Braket) -> None:
    runs = executor(GARNET, aws_session=None, max_parallel=3, run_kwargs={"tags": {"a": "b"}})
    run(runs, script(qml.probs()))
    data = json.loads(runs.model_dump_json())
    for copied in (pickle.loads(pickle.dumps(runs)), BaseQExecutor.from_data(data)):
        assert copied == runs
        assert run(copied, script(qml.expval(qml.Z(0)))) == [pytest.approx(0.95, abs=0.1)]


def test_the_secret_is_nowhere(
    braket: Braket, data_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="qcov")
    runs = executor(FORTE)
    run(runs, script(qml.probs()))
    texts = [repr(runs), str(runs.provider), runs.model_dump_json(), caplog.text]
    for fault in ("denied", "expired", "invalid", "drop before"):
        braket.fault("CreateQuantumTask", *[fault] * 3)
        try:
            run(runs, script(qml.probs()))
        except CircuitError as error:
            texts += ["".join(traceback.format_exception(error)), repr(error)]
            pickle.loads(pickle.dumps(error))
        braket.recover()
    braket.fails = "whatever"
    texts += map(str, run(runs, script(qml.probs())))
    assert not any(SECRET in text for text in texts)
    assert SECRET.encode() not in pickle.dumps(runs)
    stored = [path for path in data_folder.rglob("*") if path.is_file()]
    assert stored
    assert not any(SECRET.encode() in path.read_bytes() for path in stored)


@pytest.mark.slow
@pytest.mark.parametrize("device", [SV1, GARNET], ids=["simulator", "qpu"])
def test_it_conforms(braket: Braket, device: Device) -> None:
    report = check_executor(executor(device))
    assert report.passed, str(report)
