"""`Simulator(parallel="process")` really uses processes, wherever the user's program comes from."""

import os
import pickle
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

import qcov as ct
from qcov import transport
from qcov.errors import CircuitError
from qcov.qexecutors import simulator_fork
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.pennylane_wire import pack, unpack
from qcov.qexecutors.result_columns import pack_results, unpack_results
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron

pytestmark = pytest.mark.process

PROGRAM = """
import numpy as np
{before}
import pennylane as qml
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import qelectron

print("started")

class Mine(qml.RX):
    pass

@qelectron(executors=Simulator("default.qubit", parallel="process", workers=1))
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x):
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))

print(round(float(circuit.run_later(0.0).result())))
"""


@qml.qnode(qml.device("lightning.qubit", wires=2))
def bare(x: Any) -> Any:
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1)), qml.probs()


def test_values_and_gradients(process_simulator: Simulator, compare: Any) -> None:
    circuit = qelectron(bare, executors=process_simulator)
    compare.values_and_gradients(circuit, bare)


def test_errors_come_back(process_simulator: Simulator) -> None:
    @qml.qnode(qml.device("lightning.qubit", wires=2))
    def wrong(x: Any) -> Any:
        qml.RX(x, 7)
        return qml.expval(qml.Z(0))

    circuit = qelectron(wrong, executors=process_simulator)
    for _ in range(2):
        with pytest.raises(qml.exceptions.WireError):
            circuit(0.2)


def test_what_a_worker_left_undone_runs_again() -> None:
    simulator = Simulator("lightning.qubit", parallel="process", workers=1)
    circuit = qelectron(bare, executors=simulator)
    expected = circuit(0.3)
    worker = simulator._local._processes._idle.get()
    os.kill(worker.pid, signal.SIGKILL)
    simulator._local._processes._idle.put(worker)

    assert circuit(0.3)[0] == expected[0]
    simulator.close()


def test_idle_workers_that_were_killed_are_replaced() -> None:
    simulator = Simulator("lightning.qubit", parallel="process", workers=2)
    circuit = qelectron(bare, executors=simulator)
    expected = [result[0] for result in gather(ct.map(circuit, [0.1] * 8))]
    pool = simulator._local._processes
    workers = [pool._idle.get() for _ in range(2)]
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        while worker.is_alive():
            time.sleep(0.002)
        pool._idle.put(worker)

    assert circuit(0.1)[0] == expected[0]
    assert [result[0] for result in gather(ct.map(circuit, [0.1] * 8))] == expected
    simulator.close()


def test_a_zygote_that_dies_is_replaced() -> None:
    simulator = Simulator("lightning.qubit", parallel="process", workers=1)
    circuit = qelectron(bare, executors=simulator)
    expected = circuit(0.3)
    zygote = simulator_fork._zygote().process
    zygote.kill()
    zygote.wait()

    assert circuit(0.3)[0] == expected[0]
    simulator.close()


class Deadly(qml.operation.Operation):
    """Ends the process that simulates it."""

    num_wires = 1

    @staticmethod
    def compute_matrix(_angle: float) -> Any:
        os._exit(3)


def test_a_circuit_that_ends_its_worker_twice_fails_alone() -> None:
    simulator = Simulator(parallel="process", workers=1)
    kinds = (qml.RX, Deadly, qml.RX)
    circuits = [qml.tape.QuantumScript([kind(0.5, 0)], [qml.expval(qml.Z(0))]) for kind in kinds]
    first, deadly, last = simulator.run_batch(CircuitBatch(circuits=tuple(circuits), wires=1))
    assert first == last == pytest.approx(np.cos(0.5))
    assert isinstance(deadly, CircuitError)
    assert "died twice (exit code 3) while it ran circuit 2 of 3" in str(deadly)
    simulator.close()


def test_workers_draw_samples_of_their_own() -> None:
    simulator = Simulator(parallel="process", workers=2)
    circuit = qml.tape.QuantumScript([qml.Hadamard(0)], [qml.sample()], shots=200)
    batch = CircuitBatch(circuits=(circuit,) * 16, wires=1)
    drawn = {np.asarray(result).tobytes() for result in simulator.run_batch(batch)}
    simulator.close()
    assert len(drawn) == 16


def test_batches_travel_as_numbers() -> None:
    circuits = tuple(
        qml.tape.QuantumScript([qml.RX(x, 0), qml.CNOT([0, 1])], [qml.expval(qml.Z(1))])
        for x in np.linspace(0, 1, 1000)
    )
    odd = qml.tape.QuantumScript([qml.QubitUnitary(np.eye(2), 0)], [qml.state()])
    batch = CircuitBatch(circuits=(*circuits[:500], odd, *circuits[500:]), wires=2)
    blob = transport.dumps(pack(batch), what="a batch")
    arrived = unpack(transport.loads(blob))

    assert len(blob) < 50 * 1000
    for ours, theirs in zip(arrived.circuits, batch.circuits, strict=True):
        pairs = zip(ours.circuit, theirs.circuit, strict=True)
        assert all(qml.equal(mine, other) for mine, other in pairs)
        assert ours.shots == theirs.shots


@pytest.mark.parametrize(
    "results",
    [
        [0.1, 0.2],
        [np.float64(0.1), np.float64(0.2)],
        [(0.1,), (0.2,)],
        [(np.float64(0.1), np.zeros(4)), (np.float64(0.2), np.ones(4))],
        [np.zeros(2), np.zeros(3)],
        [np.zeros(2, dtype=complex), np.zeros(2)],
        [0.1, ValueError("no")],
        [{"00": 3}, {"01": 3}],
        [],
    ],
    ids=str,
)
def test_results_travel_as_columns(results: list[Any], compare: Any) -> None:
    arrived = unpack_results(pickle.loads(pickle.dumps(pack_results(results))))
    assert list(map(type, arrived)) == list(map(type, results))
    assert str(arrived) == str(results)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
def test_a_worker_starts_no_threads_for_large_circuits() -> None:
    """Lightning wants more threads for inner products than OMP_NUM_THREADS, which spin."""
    simulator = Simulator("lightning.qubit", parallel="process", workers=1)
    measured = [qml.expval(qml.Z(0) @ qml.X(1))]
    threads: list[set[Path]] = []
    for wires in (2, 18):
        circuit = qml.tape.QuantumScript([qml.RX(0.5, wire) for wire in range(wires)], measured)
        simulator.run_batch(CircuitBatch(circuits=(circuit,), wires=wires))
        pool = simulator._local._processes
        worker = pool._idle.get()
        threads.append(set(Path(f"/proc/{worker.pid}/task").iterdir()))
        pool._idle.put(worker)
    simulator.close()
    assert threads[1] == threads[0]


@pytest.mark.parametrize(
    ("users", "limit"),
    [
        ({}, "1"),
        ({"OMP_NUM_THREADS": "2"}, "2"),
        ({"OMP_NUM_THREADS": "2,1"}, None),
        ({"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "4"}, "4"),
    ],
)
def test_the_users_threads_count(
    users: dict[str, str], limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in users.items():
        monkeypatch.setenv(name, value)
    assert simulator_fork._thread_limits().get("OMP_THREAD_LIMIT") == limit


def test_the_owner_may_fork() -> None:
    simulator = Simulator(parallel="process", workers=1)
    circuit = qml.tape.QuantumScript([qml.RX(0.5, 0)], [qml.expval(qml.Z(0))])
    batch = CircuitBatch(circuits=(circuit,), wires=1)
    (expected,) = simulator.run_batch(batch)
    child = os.fork()
    if child == 0:
        simulator._local.close()
        os._exit(0 if simulator._local._processes is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert simulator.run_batch(batch) == [expected]
    simulator.close()


JAX_AND_TORCH = "import jax, torch\njax.numpy.ones(3).sum()\ntorch.ones(3).sum()"


@pytest.mark.parametrize("way", ["stdin", "script after jax and torch"])
def test_unguarded_programs(way: str, tmp_path: Path) -> None:
    before = ""
    if way != "stdin":
        pytest.importorskip("jax")
        pytest.importorskip("torch")
        before = JAX_AND_TORCH
    program = PROGRAM.format(before=before)
    path = tmp_path / "program.py"
    path.write_text(program)
    arguments = ["-"] if way == "stdin" else [str(path)]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=program if way == "stdin" else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["started", "1"], done.stderr


def test_a_program_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    # Python 3.13.0 cannot import compiled modules there, whoever asks
    imports = "import os, pennylane, qcov.qexecutors.simulator, qcov.quantum.qelectron"
    program = f"{imports}; os.rmdir({str(gone)!r})\n" + PROGRAM.format(before="")
    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=gone,
    )
    assert done.stdout.split() == ["started", "1"], done.stderr


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_workers_end_with_their_owner() -> None:
    program = (
        "import os\n"
        "from qcov.qexecutors.simulator_processes import ProcessPool\n"
        "from qcov import transport\n"
        "from qcov.qexecutors.base import CircuitBatch\n"
        "from qcov.qexecutors.simulator_worker import DeviceSetup\n"
        "pool = ProcessPool(1, transport.dumps(DeviceSetup(device='default.qubit'), what='it'))\n"
        "pool._run(CircuitBatch(circuits=()), [])\n"
        "print(pool._idle.get().pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    owner = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    worker = int(owner.stdout)
    assert has_ended(worker)


def has_ended(process: int) -> bool:
    """Wait for a process that is not our child."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)
