"""`DaskQExecutor` runs circuits on a Dask cluster, and loses none when a worker dies."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import psutil
import pytest

from qcov.errors import CircuitError, ExecutorOffline, InvalidSetting
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.dask import DaskQExecutor
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.qelectron import qelectron
from tests.waiting import ended, until

dask = pytest.importorskip("dask", reason="needs the extra `dask`")
distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


@qml.qnode(qml.device("lightning.qubit", wires=2))
def bare(x: Any) -> Any:
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1)), qml.probs()


class DiesOnce(qml.operation.Operation):
    """Ends the process that simulates it, the first time."""

    num_wires = 1

    def __init__(self, mark: str, wires: Any) -> None:
        super().__init__(wires=wires)
        self._hyperparameters = {"mark": mark}

    @staticmethod
    def compute_matrix(mark: str) -> Any:
        if not Path(mark).exists():
            Path(mark).touch()
            os._exit(1)
        return np.eye(2)


class AlwaysDies(DiesOnce):
    """Ends the process that simulates it."""

    @staticmethod
    def compute_matrix(mark: str) -> Any:
        os._exit(1)


def batch_with(*operations: Any) -> CircuitBatch:
    circuits = [
        qml.tape.QuantumScript([operation, qml.RX(0.1 * number, 0)], [qml.expval(qml.Z(0))])
        for number, operation in enumerate(operations)
    ]
    return CircuitBatch(circuits=tuple(circuits), wires=1)


@pytest.mark.parametrize("given", ["client", "address"])
def test_values_and_gradients(given: str, client: Any, compare: Any) -> None:
    where = {"client": client} if given == "client" else {}
    address = {"scheduler_address": client.scheduler.address} if given == "address" else {}
    executor = DaskQExecutor("lightning.qubit", **where, **address)
    circuit = qelectron(bare, executors=executor)
    compare.values_and_gradients(circuit, bare)
    executor.close()


def test_the_programs_own_client_is_used(client: Any) -> None:
    with client.as_current():
        executor = Simulator(parallel="dask")
        (value,) = executor.run_batch(batch_with(qml.X(0)))
    assert value == pytest.approx(-1)
    assert executor._local._dask._client is client
    executor.close()
    assert client.status == "running"


def test_errors_come_back(client: Any) -> None:
    executor = DaskQExecutor(client=client)
    good, bad = executor.run_batch(batch_with(qml.X(0), qml.X(7)))
    assert good == pytest.approx(-1)
    assert isinstance(bad, qml.exceptions.WireError)


def test_a_worker_that_dies_loses_nothing(client: Any, tmp_path: Path) -> None:
    mark = str(tmp_path / "died")
    operations = [qml.Identity(0)] * 20
    operations[7] = DiesOnce(mark, wires=0)
    results = DaskQExecutor(client=client).run_batch(batch_with(*operations))
    assert Path(mark).exists()
    np.testing.assert_allclose(results, np.cos(0.1 * np.arange(20)))


def test_a_circuit_that_ends_every_worker_fails_alone(client: Any) -> None:
    operations = [qml.Identity(0), AlwaysDies("", wires=0), qml.Identity(0)]
    first, deadly, last = DaskQExecutor(client=client).run_batch(batch_with(*operations))
    assert (first, last) == pytest.approx((1, np.cos(0.2)))
    assert isinstance(deadly, CircuitError)
    assert "circuit 2 of 3" in str(deadly)


def test_a_scheduler_that_is_not_there() -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "200ms"}):
        executor = DaskQExecutor(scheduler_address="tcp://127.0.0.1:9")
        with pytest.raises(ExecutorOffline, match="its Dask cluster cannot be reached"):
            executor.run_batch(batch_with(qml.X(0)))


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidSetting, match=r"pip install 'qcov\[dask\]'"):
        DaskQExecutor().run_batch(batch_with(qml.X(0)))


def test_only_dask_runs_its_circuits() -> None:
    with pytest.raises(InvalidSetting, match="always uses Dask"):
        DaskQExecutor(parallel="thread")


@pytest.mark.parametrize("address", ["nonsense", "", "tcp://host", "tcp://host:port", 3, "a b:1"])
def test_an_address_that_is_none_is_refused_at_once(address: Any) -> None:
    with pytest.raises(InvalidSetting, match="scheduler_address must be an address such as"):
        DaskQExecutor(scheduler_address=address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1:8786", "tcp://10.0.0.1:8786", "tls://[::1]:8786", "inproc://10.0.0.1/7/1"]
)
def test_addresses_as_dask_writes_them(address: str) -> None:
    assert DaskQExecutor(scheduler_address=address).scheduler_address == address


def test_a_protocol_that_nobody_brings_is_named() -> None:
    executor = DaskQExecutor(scheduler_address="carrier-pigeon://home:1")
    with pytest.raises(InvalidSetting, match="carrier-pigeon"):
        executor.run_batch(batch_with(qml.X(0)))


@pytest.mark.parametrize("parallel", ["auto", "thread", False])
def test_only_dask_has_an_address(parallel: Any) -> None:
    with pytest.raises(InvalidSetting, match="scheduler_address is for parallel='dask'"):
        Simulator(parallel=parallel, scheduler_address="tcp://10.0.0.1:8786")


def test_it_travels_without_its_client(client: Any) -> None:
    executor = pickle.loads(pickle.dumps(DaskQExecutor(client=client)))
    assert executor.scheduler_address == client.scheduler.address
    again = DaskQExecutor.from_data(executor.model_dump())
    assert again.model_dump() == executor.model_dump()


PROGRAM = """
import pennylane as qml
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.dask import DaskQExecutor

print("started")
circuit = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])
executor = DaskQExecutor()
print(round(float(executor.run_batch(CircuitBatch(circuits=(circuit,), wires=1))[0])))
executor.close()
"""


@pytest.mark.slow
def test_it_starts_workers_for_an_unguarded_program() -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        input=PROGRAM,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.stdout.split() == ["started", "-1"], done.stderr


def test_executors_without_a_cluster_share_the_workers_that_are_started(client: Any) -> None:
    client.wait_for_workers(2)  # none of them comes later, in place of one that another test ended
    me = psutil.Process()
    before = set(me.children(recursive=True))
    first, second = DaskQExecutor("lightning.qubit"), DaskQExecutor("lightning.qubit")
    qelectron(bare, executors=first)(0.1)
    started = set(me.children(recursive=True)) - before

    qelectron(bare, executors=second)(0.1)
    assert set(me.children(recursive=True)) - before == started
    first.close()
    qelectron(bare, executors=second)(0.1)
    assert all(process.is_running() for process in started)
    second.close()

    until(lambda: all(ended(process) for process in started))
