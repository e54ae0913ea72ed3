"""The provider in the box does what it is told, and the executor copes with it."""

from __future__ import annotations

import math
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pennylane as qml
import pytest

import qcov as ct
from qcov.conformance import check_executor
from qcov.errors import BudgetExceeded, CircuitRejected, InvalidSetting
from qcov.qexecutors.base import BaseQExecutor
from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.machine import calibration
from qcov.qexecutors.fakeqpu.server import FakeServer
from qcov.selectors import QueueAware

FakeQPU = ct.executor.FakeQPU


@pytest.fixture
def start() -> Iterator[Callable[..., FakeServer]]:
    servers: list[FakeServer] = []

    def start(**conditions: Any) -> FakeServer:
        token = conditions.pop("token", "")
        servers.append(FakeServer(Conditions(**conditions), token=token))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def prepared_on(executor: Any, wires: int = 4) -> Any:
    """A circuit whose counts are those of one number."""

    @ct.qelectron(executors=executor)
    @qml.set_shots(20)
    @qml.qnode(qml.device("default.qubit", wires=wires))
    def circuit(number: int) -> Any:
        for wire in range(wires):
            if number >> wire & 1:
                qml.X(wire)
        return qml.counts(wires=range(wires))

    return circuit


def number_of(counts: dict[str, int]) -> int:
    ((bits, shots),) = counts.items()
    assert shots == 20
    return int(bits[::-1], 2)


def test_the_conformance_suite() -> None:
    report = check_executor(FakeQPU())
    assert report.passed, report


def test_a_gradient_is_one_job() -> None:
    executor = FakeQPU(seed=1)

    @ct.qelectron(executors=executor)
    @qml.set_shots(1000)
    @qml.qnode(qml.device("default.qubit", wires=4), diff_method="parameter-shift")
    def circuit(angles: Any) -> Any:
        for wire in range(4):
            qml.RX(angles[wire], wires=wire)
        return qml.expval(qml.prod(*map(qml.Z, range(4))))

    angles = qml.numpy.array([0.1, 0.2, 0.3, 0.4], requires_grad=True)
    circuit(angles)
    qml.grad(circuit)(angles)  # which runs the circuit itself as well

    assert [len(job.programs) for job in executor.server.jobs._jobs.values()] == [1, 1, 8]


def test_many_futures_are_few_jobs_in_order(start: Callable[..., FakeServer]) -> None:
    server = start(max_programs=7, queue_time=0.05)
    circuit = prepared_on(FakeQPU(url=server.url))

    results = ct.gather([circuit.run_later(number % 16) for number in range(40)])

    assert [number_of(counts) for counts in results] == [number % 16 for number in range(40)]
    assert server.jobs.ledger()["jobs"] <= 8


@pytest.mark.parametrize(
    "trouble",
    [
        {"busy": 0.3}, {"broken": 0.3}, {"drop": 0.3}, {"drop_after": 0.3}, {"fail": 0.3},
        {"swap": 1.0}, {"duplicate": 1.0}, {"truncate": 0.5},
        {"busy": 0.2, "drop_after": 0.3, "idempotent": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_goes_wrong_changes_no_value(
    start: Callable[..., FakeServer], trouble: dict[str, Any]
) -> None:
    server = start(seed=5, max_programs=3, **trouble)
    executor = FakeQPU(url=server.url, poll_interval=0.02, retries=30, retry_delay=0.01)
    executor.break_after = 0
    circuit = prepared_on(executor)

    results = ct.gather([circuit.run_later(number) for number in range(12)])

    assert [number_of(counts) for counts in results] == list(range(12))
    assert server.jobs.ledger()["programs"] == 12


def test_requests_keep_to_what_the_provider_takes(start: Callable[..., FakeServer]) -> None:
    server = start(max_per_second=20.0, queue_time=0.5)
    executor = FakeQPU(url=server.url, poll_interval=0.01, retries=0)

    assert number_of(prepared_on(executor)(3)) == 3  # a refusal would be raised

    assert server.jobs.ledger()["jobs"] == 1


def test_results_that_stay_wrong_are_an_error(start: Callable[..., FakeServer]) -> None:
    server = start(truncate=1.0)
    executor = FakeQPU(url=server.url, patience=0.2, poll_interval=0.05, retries=0)

    with pytest.raises(CircuitRejected, match="are not those of its circuits"):
        prepared_on(executor)(3)

    assert server.jobs.ledger()["jobs"] == 1


def test_it_fails_over_when_the_device_is_offline(start: Callable[..., FakeServer]) -> None:
    server = start(offline=True)
    executor = FakeQPU(url=server.url, retries=0)
    circuit = prepared_on([executor, ct.executor.Simulator()])

    assert number_of(circuit(5)) == 5
    attempts = circuit.history[-1].attempts
    assert [(one.executor, one.kind) for one in attempts] == [
        ("FakeQPU", "offline"), ("Simulator", None),
    ]  # fmt: skip


def test_the_shortest_queue_is_chosen(start: Callable[..., FakeServer]) -> None:
    long, short, off = start(queue_length=9), start(queue_length=2), start(offline=True)
    executors = [FakeQPU(url=server.url) for server in (long, short, off)]
    circuit = prepared_on(ct.QCluster(executors=executors, selector=QueueAware()))

    circuit(1)

    assert [server.jobs.ledger()["jobs"] for server in (long, short, off)] == [0, 1, 0]


def test_a_cluster_s_budget_is_for_all_of_it(start: Callable[..., FakeServer]) -> None:
    servers = [start(usd_per_task=1.0, usd_per_shot=0.0) for _ in range(2)]
    budget = ct.Budget(usd=3)
    inner = ct.QCluster(executors=[FakeQPU(url=servers[0].url)], budget=ct.Budget(usd=1))
    cluster = ct.QCluster(executors=[inner, FakeQPU(url=servers[1].url)], budget=budget)
    circuit = prepared_on(cluster)

    for number in range(3):
        assert number_of(circuit(number)) == number
    with pytest.raises(BudgetExceeded, match=r"Budget\(usd=3.0\) only \$0 is left"):
        circuit(3)

    assert budget.left == {"USD": 0.0}
    assert [server.jobs.ledger()["jobs"] for server in servers] == [1, 2]


def test_noise_and_its_drift() -> None:
    conditions = Conditions(readout_error=0.1, gate_error=0.2, drift=0.5, drift_time=100.0)
    assert calibration(conditions, 0.0)["readout_error"] == pytest.approx(0.1)
    assert calibration(conditions, 25.0)["readout_error"] == pytest.approx(0.15)
    assert calibration(conditions, 75.0)["gate_error"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("conditions", "mean"),
    [({"readout_error": 0.1}, 0.8), ({"gate_error": 0.4}, 0.6), ({}, 1.0)],
)
def test_noise_shows(conditions: dict[str, float], mean: float) -> None:
    @ct.qelectron(executors=FakeQPU(seed=11, **conditions))
    @qml.set_shots(20_000)
    @qml.qnode(qml.device("default.qubit", wires=2))
    def circuit() -> Any:
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    assert float(circuit()) == pytest.approx(mean, abs=4 / math.sqrt(20_000))


def test_one_seed_gives_the_same_shots() -> None:
    def sample() -> Any:
        return prepared_on(FakeQPU(seed=2, readout_error=0.3))(6)

    assert sample() == sample()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queue_tim": 1}, "Did you mean 'queue_time'?"),
        ({"fail": 2}, "less than or equal to 1, not 2"),
        ({"url": "http://127.0.0.1:1", "fail": 0.1}, "for a provider of its own"),
        ({"poll_interval": -1}, "0 or more, not -1"),
        ({"token": 5}, "must be text"),
        ({"url": "localhost:1"}, "must be an address such as"),
        ({"retires": 5}, "Did you mean 'retries'?"),
        ({"budget": 5}, "budget"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        FakeQPU(**settings)


def test_a_fork_lets_go_of_it(start: Callable[..., FakeServer]) -> None:
    server = start()
    child = os.fork()
    if child == 0:  # where no thread serves; the garbage collector may close it anywhere
        signal.alarm(60)
        try:
            server.close()
            os._exit(0)
        finally:
            os._exit(2)

    assert os.waitpid(child, 0)[1] == 0
    assert httpx.get(server.url).status_code == 404


def test_it_travels(start: Callable[..., FakeServer]) -> None:
    budget = ct.Budget(usd=5)
    executor = FakeQPU(url=start().url, budget=budget, poll_interval=0.1)
    number_of(prepared_on(executor)(1))

    for copy in (
        pickle.loads(pickle.dumps(executor)),
        BaseQExecutor.from_data(executor.model_dump(mode="json")),
    ):
        assert copy == executor
        assert copy.budget.key == budget.key
        assert number_of(prepared_on(copy)(9)) == 9
    assert budget.left["USD"] == pytest.approx(5 - 3 * (0.3 + 20 * 0.00035))


@pytest.mark.parametrize("angle", [math.nan, math.inf])
def test_what_is_no_number_is_not_paid_for(angle: float) -> None:
    budget = ct.Budget(usd=1)

    @ct.qelectron(executors=FakeQPU(budget=budget))
    @qml.set_shots(10)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit() -> Any:
        qml.RX(angle, wires=0)
        return qml.expval(qml.Z(0))

    with pytest.raises(
        CircuitRejected, match="a parameter of RX is (nan|inf), not a finite number"
    ):
        circuit()
    assert budget.left == {"USD": 1.0}


@pytest.mark.parametrize("shots", [10**12])
def test_more_shots_than_it_takes_are_refused_beforehand(shots: int) -> None:
    executor = FakeQPU()
    with pytest.raises(CircuitRejected, match="takes 1000000 shots"):
        qml.set_shots(prepared_on(executor), shots)(1)
    assert executor.server.jobs.ledger()["jobs"] == 0


def test_what_it_cannot_run_fails_alone() -> None:
    executor = FakeQPU(qubits=3)
    circuit = prepared_on(executor, wires=4)
    with pytest.raises(CircuitRejected, match="the device has 3 qubits"):
        circuit(1)

    @ct.qelectron(executors=executor)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def analytic() -> Any:
        return qml.expval(qml.Z(0))

    with pytest.raises(CircuitRejected, match="give the executor shots=1024"):
        analytic()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({}, 401),
        ({"Authorization": "Bearer no"}, 401),
    ],
)
def test_who_must_not_ask_is_refused(
    start: Callable[..., FakeServer], headers: dict[str, str], status: int
) -> None:
    server = start(token="right")
    assert httpx.get(f"{server.url}/ledger", headers=headers, timeout=60).status_code == status


def test_bad_requests_are_answered(start: Callable[..., FakeServer]) -> None:
    url = start().url
    program = {"qubits": 1, "gates": [["RX", [5], [0.1]]], "shots": 1, "key": "k"}
    cases: list[tuple[str, Any, int]] = [
        ("/jobs", {"programs": []}, 400),
        ("/jobs", {"token": "t", "programs": []}, 422),
        ("/jobs", {"token": "t", "programs": [program]}, 422),
        ("/jobs", {"token": "t", "programs": [{**program, "gates": [["Foo", [0], []]]}]}, 422),
        ("/jobs", {"token": "t", "programs": [{**program, "gates": [], "shots": 0}]}, 422),
        ("/jobs", {"token": "t", "programs": [{}]}, 422),
        ("/jobs/none/cancel", {}, 404),
        ("/conditions", {"fail": 7}, 422),
        ("/nowhere", {}, 404),
    ]
    for path, body, status in cases:
        assert httpx.post(f"{url}{path}", json=body, timeout=60).status_code == status, (path, body)
    assert httpx.post(f"{url}/jobs", content="{", timeout=60).status_code == 415
    json = {"Content-Type": "application/json"}
    assert httpx.post(f"{url}/jobs", content="{", headers=json, timeout=60).status_code == 400


def test_estimates() -> None:
    executor = FakeQPU(usd_per_task=1.0, usd_per_shot=0.01, max_programs=4)

    @ct.qelectron(executors=[executor, ct.executor.Simulator()])
    @qml.set_shots(100)
    @qml.qnode(qml.device("default.qubit", wires=2), diff_method="parameter-shift")
    def circuit(angle: Any, other: Any) -> Any:
        qml.RX(angle, wires=0)
        qml.RY(other, wires=1)
        return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.X(0) @ qml.X(1))

    angle = qml.numpy.array(0.1, requires_grad=True)
    call, some, all_ = (
        circuit.estimate(0.1, 0.2),
        circuit.estimate(angle, 0.2, gradient=True),
        circuit.estimate(0.1, 0.2, gradient=True),
    )

    of_device = call.bills[0]  # two programs, for the observables do not commute
    assert (of_device.circuits, of_device.jobs, of_device.usd) == (1, 1, 3.0)
    assert call.bills[1].usd == 0.0
    assert call.usd == 3.0
    assert (some.bills[0].circuits, some.bills[0].jobs) == (3, 2)
    assert (all_.bills[0].circuits, all_.bills[0].jobs) == (5, 3)
    assert "5 circuits in 3 jobs, at most $13" in repr(all_)
    assert executor.server.jobs.ledger()["jobs"] == 0


def test_records_say_what_was_paid_and_where(start: Callable[..., FakeServer]) -> None:
    server = start(usd_per_task=1.0, usd_per_shot=0.0)
    circuit = prepared_on(FakeQPU(url=server.url))
    futures = [circuit.run_later(number) for number in range(4)]
    ct.gather(futures)

    records = circuit.history
    assert sum(record.cost["USD"] for record in records) == pytest.approx(
        server.jobs.ledger()["usd"]
    )
    for record in records:
        assert record.backend == "fakeqpu"
        assert record.job_id.startswith("fake-")
        assert record.metadata["timing"].keys() == {"queue", "run", "fetch"}
