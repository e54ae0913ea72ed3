"""`LocalBraketQubitExecutor`: Braket's local simulators, against PennyLane's own."""

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

import qcov as ct
from qcov.conformance import check_executor
from qcov.errors import CircuitRejected, InvalidSetting
from qcov.executor import LocalBraketQubitExecutor
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch

pytest.importorskip("braket.default_simulator", reason="Braket's SDK supports Python 3.11 and 3.12")

PENNYLANE = {"braket_sv": "default.qubit", "braket_dm": "default.mixed"}


def run(
    executor: LocalBraketQubitExecutor, *circuits: Any, wires: Any = None, **how: Any
) -> list[Any]:
    return list(executor.run_batch(CircuitBatch(circuits=circuits, wires=wires, **how)))


def script(operations: Any, *measurements: Any, shots: Any = None) -> Any:
    return qml.tape.QuantumScript(operations, measurements, shots=shots)


def entangled(*extra: Any) -> list[Any]:
    """A state without symmetries on three wires."""
    gates = [qml.RX(0.3, 0), qml.RY(1.1, 1), qml.RZ(0.7, 2), qml.Hadamard(2), qml.CNOT([0, 1])]
    return [*gates, qml.CRY(0.9, [1, 2]), qml.T(0), qml.RX(0.4, 0), *extra]


GATES = [
    qml.Identity(1), qml.Identity([0, 2]),
    qml.X(0), qml.Y(1), qml.Z(2), qml.Hadamard(0), qml.S(0), qml.SX(1), qml.T(2),
    qml.adjoint(qml.S(0)), qml.adjoint(qml.SX(1)), qml.adjoint(qml.T(2)), qml.PhaseShift(0.3, 1),
    qml.U1(0.4, 0), qml.U2(0.4, 0.1, 0), qml.U3(0.4, 0.1, 0.2, 0), qml.Rot(0.1, 0.2, 0.3, 2),
    qml.CNOT([2, 0]), qml.CY([1, 0]), qml.CZ([0, 2]), qml.CH([0, 1]), qml.SWAP([2, 1]),
    qml.ISWAP([0, 2]), qml.adjoint(qml.ISWAP([0, 2])), qml.ECR([1, 2]), qml.Toffoli([2, 0, 1]),
    qml.CSWAP([1, 2, 0]), qml.ControlledPhaseShift(0.5, [2, 1]), qml.IsingXX(0.3, [0, 2]),
    qml.IsingYY(0.3, [0, 2]), qml.IsingZZ(0.3, [2, 0]), qml.IsingXY(0.3, [2, 0]),
    qml.CRX(0.2, [2, 0]), qml.MultiRZ(0.6, [0, 1, 2]), qml.MultiControlledX([0, 2, 1]),
    qml.CPhaseShift00(0.7, [0, 2]), qml.CPhaseShift01(0.7, [0, 2]), qml.CPhaseShift10(0.7, [0, 2]),
    qml.PSWAP(0.3, [1, 0]), qml.GlobalPhase(0.8), qml.QFT([2, 0, 1]),
    qml.DoubleExcitation(0.3, [0, 1, 2, 3]),
    qml.QubitUnitary(qml.matrix(qml.CRot(0.1, 0.2, 0.3, [0, 1])), [2, 0]),
    qml.adjoint(qml.QFT([0, 1])), qml.pow(qml.X(0), 0.5), qml.ctrl(qml.RX(0.4, 1), 0, [0]),
]  # fmt: skip


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_gates_do_what_pennylanes_do(gate: Any) -> None:
    circuit = script(entangled(gate, qml.RX(0.2, 1)), qml.state())
    (state,) = run(LocalBraketQubitExecutor(), circuit, wires=4)
    (expected,) = qml.execute([circuit], qml.device("default.qubit", wires=4))
    np.testing.assert_allclose(state, expected, atol=1e-10)


OBSERVABLE = 0.4 * qml.X(0) @ qml.Z(1) + 0.7 * qml.Y(2) - 0.2 * qml.Z(0)
MEASUREMENTS = [
    qml.expval(qml.Z(0)), qml.expval(qml.Y(2) @ qml.X(0)), qml.expval(qml.Hadamard(1)),
    qml.expval(OBSERVABLE), qml.expval(qml.Hermitian(np.diag([1.0, 2, 3, 5]), [2, 0])),
    qml.expval(qml.Projector([1, 0], [2, 1])), qml.var(qml.X(1)), qml.var(qml.Z(0) @ qml.Z(2)),
    qml.probs(), qml.probs(wires=[2, 0]), qml.probs(op=qml.X(1)), qml.density_matrix([1, 2]),
    qml.purity([0]), qml.vn_entropy([0, 1]), qml.mutual_info([0], [2]), qml.expval(qml.Identity(1)),
]  # fmt: skip


@pytest.mark.parametrize("backend", PENNYLANE)
@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=repr)
def test_measurements_give_what_pennylanes_give(measurement: Any, backend: str) -> None:
    circuit = script(entangled(), measurement)
    (value,) = run(LocalBraketQubitExecutor(backend), circuit, wires=3)
    (expected,) = qml.execute([circuit], qml.device(PENNYLANE[backend], wires=3))
    np.testing.assert_allclose(value, expected, atol=1e-10)
    assert np.shape(value) == np.shape(expected)


CHANNELS = [
    qml.AmplitudeDamping(0.2, 0), qml.GeneralizedAmplitudeDamping(0.2, 0.3, 1),
    qml.PhaseDamping(0.2, 2), qml.DepolarizingChannel(0.1, 0), qml.BitFlip(0.1, 1),
    qml.PhaseFlip(0.1, 2), qml.ResetError(0.1, 0.2, 0), qml.PauliError("XY", 0.3, [2, 0]),
    qml.ThermalRelaxationError(0.1, 1.2, 1.3, 0.5, 1),
    qml.QubitChannel([np.sqrt(0.7) * np.eye(2), np.sqrt(0.3) * qml.matrix(qml.Y(0))], 0),
]  # fmt: skip


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_density_matrices_take_noise_and_state_vectors_refuse_it(channel: Any) -> None:
    circuit = script(entangled(channel, qml.RX(0.2, 1)), qml.density_matrix([0, 1, 2]))
    (state,) = run(LocalBraketQubitExecutor("braket_dm"), circuit, wires=3)
    (expected,) = qml.execute([circuit], qml.device("default.mixed", wires=3))
    np.testing.assert_allclose(state, expected, atol=1e-10)
    (refused,) = run(LocalBraketQubitExecutor("braket_sv"), circuit, wires=3)
    assert isinstance(refused, CircuitRejected)
    assert channel.name in str(refused)


def test_a_noise_model_of_pennylane_holds_for_every_circuit_of_a_batch() -> None:
    noise = qml.NoiseModel({qml.noise.op_eq(qml.RX): qml.noise.partial_wires(qml.BitFlip, 0.1)})

    @qml.qnode(qml.device("default.mixed", wires=1), diff_method="parameter-shift")
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    noisy = qml.add_noise(circuit, noise)
    here = ct.qelectron(noisy, executors=LocalBraketQubitExecutor("braket_dm"))
    x = qml.numpy.array(0.4, requires_grad=True)
    assert here(x) == pytest.approx(0.8 * np.cos(0.4))
    assert qml.grad(here)(x) == pytest.approx(-0.8 * np.sin(0.4))


# -- shots -------------------------------------------------------------------------------------

SAMPLED = [qml.expval(OBSERVABLE), qml.var(qml.X(1)), qml.probs(wires=[2, 0]), qml.expval(qml.Z(2))]


@pytest.mark.parametrize("backend", PENNYLANE)
def test_shots_come_near_what_is_exact(backend: str) -> None:
    exact = run(LocalBraketQubitExecutor(backend), script(entangled(), *SAMPLED), wires=3)[0]
    drawn = run(
        LocalBraketQubitExecutor(backend), script(entangled(), *SAMPLED, shots=40_000), wires=3
    )[0]
    for value, expected in zip(drawn, exact, strict=True):
        np.testing.assert_allclose(value, expected, atol=0.03)


@pytest.mark.parametrize(
    "measurement", [qml.sample(), qml.sample(qml.X(0)), qml.counts(wires=[0, 2])]
)
@pytest.mark.parametrize("shots", [50, (10, 30)])
def test_samples_and_counts_have_pennylanes_shapes(measurement: Any, shots: Any) -> None:
    circuit = script(entangled(), measurement, shots=shots)
    (value,) = run(LocalBraketQubitExecutor(), circuit, wires=3)
    (expected,) = qml.execute([circuit], qml.device("default.qubit", wires=3))
    if isinstance(shots, tuple):
        assert [_size(one) for one in value] == [_size(one) for one in expected]
    else:
        assert _size(value) == _size(expected)


def _size(value: Any) -> Any:
    return sum(value.values()) if isinstance(value, dict) else np.shape(value)


def test_classical_shadows_can_be_taken() -> None:
    circuit = script(entangled(), qml.shadow_expval(qml.Z(0)), shots=20_000)
    (value,) = run(LocalBraketQubitExecutor(), circuit, wires=3)
    (exact,) = run(LocalBraketQubitExecutor(), script(entangled(), qml.expval(qml.Z(0))), wires=3)
    assert value == pytest.approx(exact, abs=0.05)


def test_numpys_seed_decides_about_shots() -> None:
    def drawn() -> Any:
        np.random.seed(3)
        return run(LocalBraketQubitExecutor(), script(entangled(), qml.sample(), shots=20))[0]

    np.testing.assert_array_equal(drawn(), drawn())


# -- qelectrons --------------------------------------------------------------------------------


@pytest.mark.parametrize(("shots", "analytic"), [(0, False), (None, True)])
def test_the_executors_shots_go_before_the_qnodes(shots: int | None, analytic: bool) -> None:
    @ct.qelectron(executors=LocalBraketQubitExecutor(shots=shots))
    @qml.set_shots(3)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit() -> Any:
        qml.RX(1.0, 0)
        return qml.expval(qml.Z(0))

    value = circuit()
    if analytic:
        assert value == pytest.approx(np.cos(1.0))
    else:
        assert abs(value) in (1, pytest.approx(1 / 3))


@pytest.mark.parametrize("method", ["best", "parameter-shift", "finite-diff"])
def test_gradients_are_pennylanes(method: Any) -> None:
    qnode = qml.QNode(_ansatz, qml.device("default.qubit", wires=["a", "b"]), diff_method=method)
    x = qml.numpy.array([0.3, 0.8, 1.2], requires_grad=True)
    ours = qml.grad(ct.qelectron(qnode, executors=LocalBraketQubitExecutor()))(x)
    np.testing.assert_allclose(ours, qml.grad(qnode)(x), atol=1e-6)


def _ansatz(x: Any) -> Any:
    qml.RX(x[0], "a")
    qml.CRY(x[1], ["a", "b"])
    qml.RZ(x[2], "b")
    qml.Hadamard("b")
    return qml.expval(qml.Z("b") @ qml.X("a"))


def test_measurements_in_mid_circuit_are_deferred() -> None:
    @ct.qelectron(executors=LocalBraketQubitExecutor())
    @qml.qnode(qml.device("default.qubit", wires=3))
    def circuit() -> Any:
        qml.RX(1.0, 0)
        qml.cond(qml.measure(0), qml.X)(1)
        return qml.expval(qml.Z(1))

    assert circuit() == pytest.approx(np.cos(1.0))


@pytest.mark.parametrize(
    ("operations", "how", "said"),
    [
        ([qml.ops.MidMeasure(0)], {"mcm_method": "one-shot"}, "by 'deferred', not 'one-shot'"),
        ([qml.X(5)], {"wires": 2}, "5"),
    ],
    ids=["one-shot", "no such wire"],
)
def test_what_cannot_run_is_rejected(operations: Any, how: Any, said: str) -> None:
    circuit = script(operations, qml.expval(qml.Z(0)), shots=5)
    (refused,) = run(LocalBraketQubitExecutor(), circuit, **how)
    assert isinstance(refused, CircuitRejected)
    assert said in str(refused)
    assert refused.__cause__ is not None


def test_what_cannot_run_harms_no_other_circuit() -> None:
    circuits = [script([qml.X(wire)], qml.expval(qml.Z(wire))) for wire in (5, 1)]
    refused, value = run(LocalBraketQubitExecutor(), *circuits, wires=2)
    assert isinstance(refused, CircuitRejected)
    assert value == pytest.approx(-1)


# -- threads and processes ---------------------------------------------------------------------


def test_several_threads_may_run_circuits_that_use_the_kernels() -> None:
    """From 10 qubits on Braket's kernels end the process if two threads are in them."""
    wires = 11
    angles = 0.1 * np.arange(20)
    circuits = [
        script([qml.RX(angle, wire) for wire in range(wires)], qml.expval(qml.Z(3)))
        for angle in angles
    ]
    found: list[Any] = []

    def work(executor: LocalBraketQubitExecutor) -> None:
        found.append(run(executor, *circuits, wires=wires))

    threads = [threading.Thread(target=work, args=(LocalBraketQubitExecutor(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values in found:
        np.testing.assert_allclose(values, np.cos(angles), atol=1e-10)
    assert len(found) == 3


@pytest.mark.process
@pytest.mark.parametrize("setting", ["num_processes", "num_threads"])
def test_processes_share_a_batch(setting: str) -> None:
    executor = LocalBraketQubitExecutor("braket_dm", **{setting: 2})
    angles = 0.1 * np.arange(12)
    circuits = [
        script([qml.RX(angle, "a"), qml.BitFlip(0.1, "a")], qml.expval(qml.Z("a")))
        for angle in angles
    ]
    try:
        values = run(executor, *circuits, wires=("a",))
        np.testing.assert_allclose(values, 0.8 * np.cos(angles), atol=1e-10)
        assert executor._local._processes is not None
    finally:
        executor.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"backend": "braket_dm"}, {"shots": 2000}, {"num_processes": 2, "max_jobs": 2}],
    ids=str,
)
def test_it_conforms(settings: dict[str, Any]) -> None:
    report = check_executor(LocalBraketQubitExecutor(**settings))
    assert report.passed, str(report)


# -- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backend": "braket_ahs"}, "runs no circuits of gates"),
        ({"device": "braket_ahs"}, "runs no circuits of gates"),
        ({"backend": "braket_sw"}, "Did you mean 'braket_sv'?"),
        ({"backend": 3}, "is no local simulator"),
        ({"backend": "braket_sv", "device": "braket_dm"}, "another name for it, 'braket_dm'"),
        ({"num_threads": 0}, "a whole number above 0"),
        ({"num_processes": "many"}, "a whole number above 0"),
        ({"run_kwargs": {"shots": 3}}, "is unknown to the simulator"),
        ({"run_kwargs": {"batch_size": 0}}, "batch_size"),
        ({"run_kwargs": 3}, "must be a dictionary"),
        ({"wires": 3}, "is not a setting"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        LocalBraketQubitExecutor(**settings)


def test_device_is_another_name_of_backend() -> None:
    executor = LocalBraketQubitExecutor(device="braket_dm", shots=1024, num_threads=2)
    assert (executor.backend, executor.device, executor.num_threads) == (
        "braket_dm",
        "braket_dm",
        2,
    )
    executor.device = "braket_sv"
    assert executor.backend == "braket_sv"


def test_defaults_may_stand_in_the_settings_by_both_names(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    section = "[qelectron.LocalBraketQubitExecutor]"
    (folder / "qcov.conf").write_text(f'{section}\ndevice = "braket_dm"\nnum_threads = 3\n')
    assert LocalBraketQubitExecutor().backend == "braket_dm"
    assert LocalBraketQubitExecutor().num_threads == 3
    assert LocalBraketQubitExecutor("braket_sv").backend == "braket_sv"
    assert LocalBraketQubitExecutor(device="default").backend == "default"


def test_a_change_of_backend_changes_the_simulator() -> None:
    circuit = script([qml.X(0), qml.BitFlip(0.2, 0)], qml.expval(qml.Z(0)))
    executor = LocalBraketQubitExecutor("braket_dm")
    assert run(executor, circuit)[0] == pytest.approx(-0.6)
    executor.backend = "braket_sv"
    assert isinstance(run(executor, circuit)[0], CircuitRejected)


def test_gates_may_be_multiplied_before_they_are_applied() -> None:
    circuit = script(entangled(), qml.state())
    (value,) = run(LocalBraketQubitExecutor(run_kwargs={"batch_size": 3}), circuit, wires=3)
    (expected,) = run(LocalBraketQubitExecutor(), circuit, wires=3)
    np.testing.assert_allclose(value, expected, atol=1e-10)


def test_it_travels_as_pickle_and_as_json() -> None:
    executor = LocalBraketQubitExecutor("braket_dm", shots=7, run_kwargs={"batch_size": 2})
    run(executor, script([qml.X(0)], qml.expval(qml.Z(0))))
    data = json.loads(executor.model_dump_json())
    for copied in (pickle.loads(pickle.dumps(executor)), BaseQExecutor.from_data(data)):
        assert copied == executor
        assert run(copied, script([qml.X(0)], qml.expval(qml.Z(0))))[0] == pytest.approx(-1)


def test_capabilities_and_refusals_are_the_simulators() -> None:
    large = script([qml.X(wire) for wire in range(14)], qml.expval(qml.Z(0)))
    noisy = script([qml.BitFlip(0.1, 0)], qml.expval(qml.Z(0)))
    vectors, matrices = LocalBraketQubitExecutor(), LocalBraketQubitExecutor("braket_dm")
    assert (vectors.capabilities.wires, matrices.capabilities.wires) == (26, 13)
    assert vectors.refusal(large) is None
    assert matrices.refusal(large) == "has 13 wires, not 14"
    assert matrices.refusal(noisy) is None
    assert "BitFlip" in str(vectors.refusal(noisy))


def test_results_are_reused_between_equal_simulators_only() -> None:
    default, vectors, matrices = (
        LocalBraketQubitExecutor(name).cache_key() for name in ("default", "braket_sv", "braket_dm")
    )
    assert default == vectors != matrices


def test_it_costs_nothing() -> None:
    assert LocalBraketQubitExecutor().estimate_cost(script([], qml.expval(qml.Z(0)))) == 0
