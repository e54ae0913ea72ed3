"""Qelectrons that many threads use at once are right, every time."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

from qcov.qexecutors.simulator import Simulator
from qcov.quantum.futures import gather
from qcov.quantum.qelectron import QElectron, qelectron

THREADS, CALLS, AT_ONCE = 8, 2000, 25


def bare(device: str, **options: Any) -> Any:
    @qml.qnode(qml.device(device, wires=1), **options)
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        with qml.QueuingManager.stop_recording():
            qml.RY(x, 0)
        return qml.expval(qml.Z(0))

    return circuit


def call(circuit: Any, points: Any) -> Any:
    return [circuit(point) for point in points]


def later(circuit: QElectron, points: Any) -> Any:
    return gather(circuit.run_later(point) for point in points)


def slope(circuit: Any, points: Any) -> Any:
    derivative = qml.grad(circuit)
    return [derivative(pnp.array(point, requires_grad=True)) for point in points]


def own(_: Any, points: Any) -> Any:
    return call(bare("lightning.qubit"), points)


WORK: dict[str, list[tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]]] = {
    "calls, futures": [(call, np.cos), (later, np.cos)],
    "calls, futures, gradients, bare QNodes": [
        (call, np.cos),
        (later, np.cos),
        (slope, lambda x: -np.sin(x)),
        (own, np.cos),
    ],
}


def here(device: str) -> Simulator:
    return Simulator(device, parallel=False)


SHARED: dict[str, Callable[[], QElectron]] = {
    "lightning.qubit": lambda: qelectron(
        bare("lightning.qubit"), executors=here("lightning.qubit")
    ),
    "default.qubit": lambda: qelectron(
        bare("default.qubit", diff_method="parameter-shift"), executors=here("default.qubit")
    ),
    "cluster": lambda: qelectron(
        bare("lightning.qubit"), executors=[here("lightning.qubit"), here("lightning.qubit")]
    ),
}
#: All calls where they are cheap and everything is mixed; fewer elsewhere.
ROWS = [
    (work, shared, CALLS if (work, shared) == ("calls, futures", "lightning.qubit") else AT_ONCE)
    for work in WORK
    for shared in SHARED
]


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.parametrize(("work", "shared", "calls"), ROWS)
def test_many_threads(work: str, shared: str, calls: int) -> None:
    circuit = SHARED[shared]()
    together = threading.Barrier(THREADS)

    def run(thread: int) -> None:
        do, expected = WORK[work][thread % len(WORK[work])]
        points = np.random.default_rng(thread).uniform(-3, 3, calls)
        together.wait()
        for first in range(0, calls, AT_ONCE):
            some = points[first : first + AT_ONCE]
            np.testing.assert_allclose(do(circuit, some), expected(some), atol=1e-8)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(run, thread) for thread in range(THREADS)]:
            done.result()


#: What a PennyLane of tomorrow may do to the internals that are replaced.
MOVED = {
    "another list": """
class Manager(type(queuing.QueuingManager)):
    pass
stacks = []
def append(cls, queue): stacks.append(queue)
def remove(cls): return stacks.pop()
def recording(cls): return bool(stacks)
def active(cls): return stacks[-1] if stacks else None
def queue(cls, op, **kwargs):
    if stacks: stacks[-1].append(op, **kwargs)
for name, new in dict(add_active_queue=append, remove_active_queue=remove, recording=recording,
                      active_context=active, append=queue).items():
    setattr(queuing.QueuingManager, name, classmethod(new))
""",
    "no list": "del queuing.QueuingManager._active_contexts",
}


@pytest.mark.slow
@pytest.mark.parametrize("change", MOVED)
def test_a_pennylane_whose_internals_moved_is_refused(change: str) -> None:
    program = f"""
from pennylane import queuing
{MOVED[change]}
import qcov.qexecutors.pennylane_adapter
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert (
        "CircuitError: PennyLane could not run the circuit: the queuing of PennyLane" in done.stderr
    ), done.stderr
