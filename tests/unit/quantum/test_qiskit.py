"""`QiskitExecutor` on this machine: noiseless, with the noise of fake backends, one job a batch."""

from __future__ import annotations

import json
import threading
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

pytest.importorskip("qiskit_aer")

import qcov as ct
from qcov.conformance import check_executor
from qcov.errors import CircuitError, CircuitRejected, CircuitTimedOut, InvalidSetting
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult
from qcov.qexecutors.qiskit import QiskitExecutor


def electron_of(executor: BaseQExecutor, *, wires: int = 2, shots: int | None = None) -> Any:
    @ct.qelectron(executors=executor)
    @qml.qnode(qml.device("default.qubit", wires=wires), diff_method="parameter-shift", shots=shots)
    def circuit(angles: Any) -> Any:
        for wire in range(wires):
            qml.RX(angles[wire], wires=wire)
        for wire in range(wires - 1):
            qml.CNOT(wires=[wire, wire + 1])
        return qml.expval(qml.Z(wires - 1))

    return circuit


# -- what it must do ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor",
    [
        QiskitExecutor(shots=0, seed=3, max_jobs=2),
        QiskitExecutor(seed=3),
        QiskitExecutor(backend="statevector", shots=0, seed=3),
        QiskitExecutor(shots=2000, seed=3, single_job=False),
    ],
    ids=["the circuit's shots", "its own shots", "statevector", "a job each"],
)
def test_it_does_what_executors_must(executor: QiskitExecutor) -> None:
    report = check_executor(executor)
    assert report.passed, str(report)


@pytest.mark.slow
def test_it_does_with_noise() -> None:
    report = check_executor(QiskitExecutor(backend="fake_manila", shots=0, seed=3), tolerance=0.2)
    failed = {one.check for one in report.results if one.outcome == "failed"}
    assert failed <= {"shots"}, str(report)  # whose frequencies know no noise


# -- jobs --------------------------------------------------------------------------------------


def test_a_gradient_is_one_job() -> None:
    electron = electron_of(QiskitExecutor(shots=4000, seed=1), wires=4)
    angles = pnp.array([0.1, 0.8, 1.3, 0.4], requires_grad=True)

    slope = qml.grad(electron)(angles)

    exact = [
        -np.sin(angle) * np.prod(np.cos(np.delete(angles, at))) for at, angle in enumerate(angles)
    ]
    np.testing.assert_allclose(slope, exact, atol=6 / 4000**0.5)
    of_jobs = Counter(record.job_id for record in electron.history)
    assert sorted(of_jobs.values()) == [1, 8]  # the value, and all shifted circuits


@pytest.mark.parametrize(("single_job", "jobs"), [(True, 1), (False, 5)])
def test_single_job_says_how_many_jobs_a_batch_is(single_job: bool, jobs: int) -> None:
    executor = QiskitExecutor(single_job=single_job, seed=1)
    script = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))], shots=100)

    results = executor.run_batch(CircuitBatch(circuits=(script,) * 5, wires=1))

    assert len({one.job_id for one in results}) == jobs
    assert all(isinstance(one, CircuitResult) for one in results)


def test_a_record_says_where_a_circuit_ran() -> None:
    electron = electron_of(QiskitExecutor(backend="FakeManilaV2", shots=100))
    electron([0.1, 0.2])
    record = electron.history[0]
    assert (record.executor, record.device) == ("QiskitExecutor", "local_sampler")
    assert (record.backend, record.shots) == ("fake_manila", 100)
    assert record.job_id
    assert record.execution_time is not None


def test_a_job_that_takes_too_long_is_given_up() -> None:
    executor = QiskitExecutor(shots=1, max_time=0.001)
    operations = [qml.RX(0.3, wire) for wire in range(20)]
    script = qml.tape.QuantumScript(operations, [qml.sample(wires=range(20))], shots=100_000)
    with pytest.raises(CircuitTimedOut, match="0.001 s"):
        executor.run_batch(CircuitBatch(circuits=(script,), wires=20))


def test_a_circuit_that_needs_too_much_memory_fails_alone() -> None:
    executor = QiskitExecutor(shots=10)
    wires = range(40)
    gates = [
        *map(qml.Hadamard, wires),
        *map(qml.T, wires),
        *(qml.CNOT([w, w + 1]) for w in wires[:-1]),
    ]
    huge = qml.tape.QuantumScript(gates, [qml.sample(wires=wires)], shots=10)
    small = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))], shots=10)

    first, failed, last = executor.run_batch(CircuitBatch(circuits=(small, huge, small), wires=40))

    assert (first.value, last.value) == (-1.0, -1.0)
    assert isinstance(failed, CircuitError)
    assert "more memory than there is" in str(failed)


# -- seeds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"seed": 11}, {"options": {"simulator": {"seed_simulator": 11}}}]
)
def test_a_seed_makes_a_program_repeatable_and_its_jobs_different(settings: Any) -> None:
    def run() -> list[float]:
        electron = electron_of(QiskitExecutor(shots=200, **settings))
        return [float(electron([0.9, 0.7])) for _ in range(4)]

    first = run()
    assert first == run()
    assert len(set(first)) > 1


# -- backends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["aer_simulator", "statevector", "fake_manila"])
def test_a_circuit_tells_its_share_of_transpiling_and_running(backend: str) -> None:
    script = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))], shots=100)
    batch = CircuitBatch(circuits=(script,) * 4, wires=1)
    results: Any = QiskitExecutor(backend=backend).run_batch(batch)
    first = results[0].metadata["timing"]
    assert first.keys() == {"transpile", "run"}
    assert all(one.metadata["timing"] == first for one in results)
    assert 0 < first["transpile"] + first["run"] <= results[0].execution_time


@pytest.mark.parametrize("name", ["fake_manila", "FakeManilaV2", "FakeManila", "fake_manila_v2"])
def test_a_fake_backend_has_many_spellings(name: str) -> None:
    assert QiskitExecutor(backend=name).capabilities.wires == 5


def test_a_fake_backend_has_noise() -> None:
    script = qml.tape.QuantumScript(
        [qml.CNOT([0, 1]) for _ in range(60)], [qml.expval(qml.Z(1))], shots=4000
    )

    def value(backend: str) -> float:
        options = {"optimization_level": 0}  # or all gates would go
        executor = QiskitExecutor(backend=backend, options=options, seed=5)
        (result,) = executor.run_batch(CircuitBatch(circuits=(script,), wires=2))
        return float(result.value)

    assert value("aer_simulator") == 1.0
    assert value("fake_manila") < 0.95


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("fake_manilla", "Did you mean 'fake_manila'"),
        ("ibmq_lima", "is retired.*'fake_lima'"),
        ("ibm_fez", "is a machine of IBM's.*'fake_fez'"),
    ],
)
def test_a_backend_that_is_not_here_is_refused(backend: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        QiskitExecutor(backend=backend)


@pytest.mark.parametrize("backend", ["ibmq_qasm_simulator", "ibm_qasm_simulator"])
@pytest.mark.parametrize("device", ["local_sampler", "sampler"])
def test_simulators_that_are_gone_run_here_with_a_warning(backend: str, device: Any) -> None:
    with pytest.warns(UserWarning, match="switched .* off.*backend='aer_simulator'"):
        executor = QiskitExecutor(device=device, backend=backend, shots=50)
    assert electron_of(executor)([0.0, 0.0]) == 1.0


def test_a_circuit_that_is_too_large_is_refused_before_it_runs() -> None:
    executor = QiskitExecutor(backend="fake_manila")
    script = qml.tape.QuantumScript([], [qml.probs(wires=range(6))], shots=10)
    assert executor.refusal(script) == "it needs 6 qubits, and the backend has 5"
    (error,) = executor.run_batch(CircuitBatch(circuits=(script,), wires=6))
    assert isinstance(error, CircuitRejected)
    small = qml.tape.QuantumScript([], [qml.probs(wires=range(5))])
    assert executor.refusal(small) is None


def test_a_circuit_without_shots_is_refused() -> None:
    electron = electron_of(QiskitExecutor(shots=0))
    with pytest.raises(CircuitRejected, match="has no shots"):
        electron([0.1, 0.2])


# -- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shots": None}, "a sampler has shots"),
        ({"shots": -1}, "shots must be"),
        ({"device": "samplr"}, "Did you mean 'sampler'"),
        ({"optimization_level": 4}, "from 0 to 3"),
        ({"max_time": "soon"}, "such as '1h 30m'"),
        ({"max_time": 0}, "such as '1h 30m'"),
        ({"options": [1]}, "must be a dictionary"),
        ({"options": {"optimisation_level": 1}}, "Did you mean 'optimization_level'"),
        ({"bakend": "x"}, "Did you mean 'backend'"),
    ],
)
def test_a_wrong_setting_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        QiskitExecutor(**settings)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h 30m", 5400), ("2h30m 5s", 9005), ("45", 45), (12.5, 12.5)]
)
def test_max_time_may_be_text(text: Any, seconds: float) -> None:
    assert QiskitExecutor(max_time=text).max_time == seconds


def test_what_is_assigned_takes_effect() -> None:
    executor = QiskitExecutor(shots=10)
    assert executor.capabilities.wires is None
    executor.backend = "fake_manila"
    assert executor.capabilities.wires == 5


def test_it_is_the_same_after_json_and_only_settings_count() -> None:
    executor = QiskitExecutor(backend="fake_manila", options={"optimization_level": 1}, seed=1)
    electron_of(executor)([0.1, 0.2])
    copy = BaseQExecutor.from_data(json.loads(executor.model_dump_json()))
    assert copy == executor
    assert copy.cache_key() == executor.cache_key()
    other = QiskitExecutor(backend="fake_manila", options={"optimization_level": 2}, seed=1)
    assert other.cache_key() != executor.cache_key()


def test_threads_share_an_executor() -> None:
    executor = QiskitExecutor(backend="fake_manila", shots=500, seed=1, max_jobs=4)
    scripts = [
        qml.tape.QuantumScript([qml.RX(angle, 0)], [qml.expval(qml.Z(0))], shots=500)
        for angle in (0.0, np.pi)
    ]
    values: dict[int, float] = {}

    def run(number: int) -> None:
        batch = CircuitBatch(circuits=(scripts[number % 2],) * 3, wires=1)
        values[number] = float(np.mean([one.value for one in executor.run_batch(batch)]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((values[number] > 0.8) == (number % 2 == 0) for number in range(6))


def test_what_warns_names_the_line_of_the_user() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        QiskitExecutor(options={"default_shots": 5})
    (warning,) = caught
    assert warning.filename == __file__


def test_circuits_of_one_structure_are_fitted_once() -> None:
    executor = QiskitExecutor(backend="fake_manila", shots=20)
    electron = electron_of(executor)
    for angles in ([0.1, 0.2], [0.3, 0.4], [0.5, 0.6]):
        electron(angles)
    assert len(executor._local._fitting._fitted) == 1
