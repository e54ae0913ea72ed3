"""`run_later`: futures that hold, coalesce, cancel, wait and await as one expects."""

import asyncio
import concurrent.futures
import threading
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pydantic import PrivateAttr

from qcov.errors import CircuitError
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.pennylane_adapter import check_queues
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.futures import as_completed, gather
from qcov.quantum.qelectron import QElectron, qelectron

ANGLES = np.linspace(0, 3, 40)


@qml.qnode(qml.device("lightning.qubit", wires=2))
def bare(x: Any) -> Any:
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


class Gate(BaseQExecutor):
    """Runs nothing before it is opened."""

    _open: threading.Event = PrivateAttr(default_factory=threading.Event)
    _entered: threading.Event = PrivateAttr(default_factory=threading.Event)
    _sizes: list[int] = PrivateAttr(default_factory=list)

    def run_batch(self, batch: CircuitBatch) -> list[Any]:
        self._sizes.append(len(batch.circuits))
        self._entered.set()
        assert self._open.wait(30)
        return [circuit.operations[0].data[0] for circuit in batch.circuits]


def test_values(executor: BaseQExecutor | None) -> None:
    circuit = qelectron(bare, executors=executor)
    futures = [circuit.run_later(angle) for angle in ANGLES]
    np.testing.assert_allclose(gather(futures), [bare(angle) for angle in ANGLES], atol=1e-7)
    assert gather(*futures[:2]) == gather(futures[:2])


def test_what_waits_runs_as_one_batch() -> None:
    gate = Gate()
    circuit = qelectron(bare, executors=gate)
    first = circuit.run_later(0.0)
    assert gate._entered.wait(30)
    others = [circuit.run_later(angle) for angle in ANGLES]
    assert not first.done()
    assert first.running()

    gate._open.set()
    assert gather(others) == list(ANGLES)
    assert gate._sizes == [1, len(ANGLES)]


def test_arguments_may_change_after_the_call() -> None:
    circuit = qelectron(bare)
    point = np.array(0.3)
    future = circuit.run_later(float(point))
    point += 1
    assert future.result() == pytest.approx(bare(0.3))


def test_cancel_and_timeout() -> None:
    gate = Gate()
    circuit = qelectron(bare, executors=gate)
    running = circuit.run_later(0.1)
    assert gate._entered.wait(30)
    waiting = circuit.run_later(0.2)
    with pytest.raises(TimeoutError):
        running.result(timeout=0.01)

    assert not running.cancel()
    assert waiting.cancel()
    gate._open.set()
    assert running.result() == 0.1
    with pytest.raises(concurrent.futures.CancelledError):
        waiting.result()
    assert gate._sizes == [1]


def test_as_completed_and_callbacks() -> None:
    circuit = qelectron(bare)
    futures = [circuit.run_later(angle) for angle in ANGLES]
    seen: list[Any] = []
    futures[0].add_done_callback(seen.append)
    assert set(as_completed(futures, timeout=30)) == set(futures)
    assert seen == [futures[0]]


def test_await() -> None:
    circuit = qelectron(bare)

    async def main() -> list[Any]:
        return await asyncio.gather(*[_await(circuit, angle) for angle in ANGLES])

    np.testing.assert_allclose(asyncio.run(main()), [bare(angle) for angle in ANGLES])


async def _await(circuit: QElectron, angle: float) -> Any:
    return await circuit.run_later(angle)


def test_asking_a_bound_future_whether_it_is_done_ends() -> None:
    circuit = qelectron(bare.update(interface="autograd"))
    future = circuit.run_later(qml.numpy.array(0.4))
    assert future.done()
    assert future.exception() is None


def test_an_error_belongs_to_its_circuit_and_is_raised_every_time() -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> Any:
        qml.QubitUnitary(np.eye(2), wires=0)
        qml.RX(x, 0)
        return qml.expval(qml.Z(0 if x < 1 else 5))

    electron = qelectron(circuit)
    futures = [electron.run_later(angle) for angle in (0.1, 2.0, 0.2)]
    assert [future.exception() is None for future in futures] == [True, False, True]
    for _ in range(2):
        with pytest.raises(qml.exceptions.WireError):
            futures[1].result()


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("parallel", [False, "thread"])
def test_threads_share_a_qelectron(device: str, parallel: Any) -> None:
    """Covalent died of this with a segmentation fault."""
    circuit = qelectron(bare, executors=Simulator(device, parallel=parallel, workers=2))
    expected = {float(angle): bare(angle) for angle in ANGLES}

    def work(first: int) -> list[bool]:
        angles = [float(angle) for angle in np.roll(ANGLES, first)]
        futures = [circuit.run_later(angle) for angle in angles]
        called = [np.isclose(circuit(angle), expected[angle]) for angle in angles]
        later = zip(futures, angles, strict=True)
        return called + [np.isclose(future.result(), expected[angle]) for future, angle in later]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(all(right) for right in pool.map(work, range(8)))


def test_threads_record_their_own_circuits() -> None:
    """Stock PennyLane loses gates, mixes circuits or deadlocks when threads build them."""
    qnodes = [bare.update(device=qml.device("default.qubit", wires=2)) for _ in range(4)]

    def work(qnode: Any) -> list[Any]:
        return [qnode(angle) for angle in ANGLES]

    expected = work(bare)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for values in pool.map(work, qnodes):
            np.testing.assert_allclose(values, expected)


def test_moved_internals_of_pennylane_fail_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    check_queues()
    monkeypatch.setattr(qml.QueuingManager, "_active_contexts", OneForAll())
    with pytest.raises(CircuitError, match="queuing of PennyLane"):
        check_queues()


class OneForAll(list[Any]):
    """A stack of queues that all threads share, as PennyLane's own is."""

    def swap(self, new: list[Any]) -> list[Any]:
        old, self[:] = list(self), new
        return old
