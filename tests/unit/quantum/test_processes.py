"""`Simulator(parallel="process")` really uses processes, wherever the user's program comes from."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from qcov.errors import CircuitError
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.qelectron import qelectron

pytestmark = pytest.mark.process

PROGRAM = """
import numpy as np
{before}
import pennylane as qml
from qcov.qexecutors.simulator import Simulator
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
    angles = np.linspace(0, 1, 7)
    futures = [circuit.run_later(angle) for angle in angles]
    for future, angle in zip(futures, angles, strict=True):
        compare.same(future.result(), bare(angle))

    x = qml.numpy.array(0.3, requires_grad=True)
    first = lambda f: lambda y: f(y)[0]  # noqa: E731
    np.testing.assert_allclose(qml.grad(first(circuit))(x), qml.grad(first(bare))(x))


def test_errors_come_back(process_simulator: Simulator) -> None:
    @qml.qnode(qml.device("lightning.qubit", wires=2))
    def wrong(x: Any) -> Any:
        qml.RX(x, 7)
        return qml.expval(qml.Z(0))

    circuit = qelectron(wrong, executors=process_simulator)
    for _ in range(2):
        with pytest.raises(qml.exceptions.WireError):
            circuit(0.2)


def test_a_worker_that_dies_is_replaced() -> None:
    simulator = Simulator("lightning.qubit", parallel="process", workers=1)
    circuit = qelectron(bare, executors=simulator)
    expected = circuit(0.3)
    worker = simulator._local._processes._idle.get()
    os.kill(worker._process.pid, signal.SIGKILL)
    simulator._local._processes._idle.put(worker)

    with pytest.raises(CircuitError, match="exit code -9"):
        circuit(0.3)
    assert circuit(0.3)[0] == expected[0]
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
        "pool = ProcessPool(1, 'default.qubit', {})\n"
        "print(pool._idle.get()._process.pid, flush=True)\n"
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
