"""`DaskExecutor` on somebody else's cluster: what comes back, what is stopped, what is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from tests.waiting import ended, until

distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
pytestmark = pytest.mark.process

DaskExecutor = ct.executor.DaskExecutor


@pytest.fixture(autouse=True)
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the files go that these executors write by default."""
    monkeypatch.setenv("QCOV_DISPATCHER_RESULTS_DIR", str(tmp_path / "results"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    )
    with cluster:
        yield cluster.scheduler_address


def dispatched(function: Any, *args: Any, **settings: Any) -> Any:
    """The result of a lattice of one electron."""
    electron = ct.electron(function, **settings)
    return ct.dispatch_sync(ct.lattice(electron))(*args)


def where(tag: str) -> tuple[str, int, Any]:
    context = ct.get_context()
    return tag, os.getppid(), (context.electron, context.node_id) if context else None


def test_electrons_run_in_processes_of_the_workers(common_engine: Path, address: str) -> None:
    electron = ct.electron(where, executor=DaskExecutor(address))
    flow = ct.lattice(lambda n: [electron(str(number)) for number in range(n)])

    result = ct.dispatch_sync(flow)(8)

    assert [tag for tag, _, _ in result.result] == [str(number) for number in range(8)]
    assert {context[0] for _, _, context in result.result} == {"where"}
    with distributed.Client(address, set_as_default=False) as client:
        workers = client.run(os.getpid).values()
    assert {parent for _, parent, _ in result.result} <= set(workers)


def speak(line: str) -> str:
    print(line)
    os.system(f"echo {line} too >&2")
    return line


def test_what_is_printed_is_stored_and_written_to_files(
    common_engine: Path, address: str, tmp_path: Path
) -> None:
    executor = DaskExecutor(address, log_stdout=str(tmp_path / "out.log"), log_stderr="")
    result = dispatched(speak, "hello", executor=executor)

    node = result.get_node_result(0)
    assert (node["stdout"], node["stderr"]) == ("hello\n", "hello too\n")
    assert (tmp_path / "out.log").read_text() == "hello\n"


def divide(by: int) -> float:
    print("before")
    return 1 / by


def test_an_error_is_told_with_the_users_own_lines(common_engine: Path, address: str) -> None:
    result = dispatched(divide, 0, executor=DaskExecutor(address, log_stdout="", log_stderr=""))

    node = result.get_node_result(0)
    assert node["stdout"] == "before\n"
    assert "ZeroDivisionError: division by zero" in node["error"]
    assert "return 1 / by" in node["error"]
    assert "distributed" not in node["error"]
    assert "qcov/" not in node["error"]


def test_circuits_are_recorded(common_engine: Path, address: str) -> None:
    qml = pytest.importorskip("pennylane")

    def energy(x: float) -> float:
        @ct.qelectron
        @qml.qnode(qml.device("default.qubit", wires=1))
        def circuit(x: float) -> Any:
            qml.RX(x, 0)
            return qml.expval(qml.Z(0))

        return float(circuit(x)) + float(circuit(2 * x))

    result = dispatched(energy, 0.0, executor=DaskExecutor(address))

    circuits = result.get_node_result(0)["qelectron"]
    assert result.result == pytest.approx(2)
    assert len(circuits) == 2
    assert all("RX" in circuit.drawing for circuit in circuits)


def ticks(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def pid_in(path: Path) -> int:
    return int(until(lambda: path.exists() and path.read_text()))


def test_cancelling_stops_what_runs_and_frees_its_worker(
    common_engine: Path, address: str, tmp_path: Path
) -> None:
    electron = ct.electron(ticks, executor=DaskExecutor(address))
    dispatch_id = ct.dispatch(ct.lattice(electron))(str(tmp_path / "pid"))
    process = psutil.Process(pid_in(tmp_path / "pid"))

    ct.cancel(dispatch_id)

    until(lambda: ended(process))
    assert ct.get_result(dispatch_id, wait=True).status == "CANCELLED"
    assert dispatched(divide, 1, executor=DaskExecutor(address)).result == 1


def test_a_time_limit_stops_what_runs(common_engine: Path, address: str, tmp_path: Path) -> None:
    def overrun(path: str) -> None:  # it travels whole: importing its module would count
        Path(path).write_text(str(os.getpid()))
        time.sleep(600)

    result = dispatched(
        overrun, str(tmp_path / "pid"), executor=DaskExecutor(address), time_limit=3
    )

    assert "TimeLimitExceeded: 'overrun' was stopped after its time limit of 3 s" in str(
        result.get_node_result(0)["error"]
    )
    process = pid_in(tmp_path / "pid")
    until(lambda: ended(process))


def test_the_time_that_an_electron_waits_for_a_worker_does_not_count(
    common_engine: Path, address: str, tmp_path: Path
) -> None:
    def holds_a_worker(name: str) -> None:
        (tmp_path / name).touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.01)

    holds = ct.electron(holds_a_worker, executor=DaskExecutor(address))
    limited = ct.electron(time.sleep, executor=DaskExecutor(address, time_limit=2))
    ct.dispatch(ct.lattice(lambda: [holds("one"), holds("two")]))()
    until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())

    dispatch_id = ct.dispatch(ct.lattice(limited))(0)
    time.sleep(2.5)  # longer than it may run
    (tmp_path / "go").touch()

    assert ct.get_result(dispatch_id, wait=True).status == "COMPLETED"


def dies(mark: str, whose: str) -> str:
    if Path(mark).exists():
        return "again"
    Path(mark).touch()
    os.kill(os.getppid() if whose == "worker" else os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return "never"


@pytest.mark.parametrize("whose", ["electron", "worker"])
def test_a_death_fails_the_electron_which_retries_run_again(
    whose: str, common_engine: Path, address: str, tmp_path: Path
) -> None:
    executor = DaskExecutor(address)
    once = dispatched(dies, str(tmp_path / "once"), whose, executor=executor)
    again = dispatched(dies, str(tmp_path / "again"), whose, executor=executor, retries=1)

    assert "WorkerLost: the process that ran 'dies' died" in str(once.get_node_result(0)["error"])
    assert again.result == "again"


def test_a_dispatch_within_an_electron(common_engine: Path, address: str) -> None:
    def outer() -> int:
        inner = ct.electron(lambda x: 2 * x)
        return int(ct.dispatch_sync(ct.lattice(inner))(21).result)

    assert dispatched(outer, executor=DaskExecutor(address)).result == 42


def test_dispatches_within_electrons_may_be_deeper_than_there_are_threads(
    common_engine: Path, address: str
) -> None:
    def down(depth: int) -> int:
        inner = ct.electron(down, executor=DaskExecutor(address))
        return 1 + int(ct.dispatch_sync(ct.lattice(inner))(depth - 1).result) if depth else 0

    assert dispatched(down, 2, executor=DaskExecutor(address)).result == 2
    assert dispatched(divide, 1, executor=DaskExecutor(address)).result == 1


def test_an_electron_ends_with_a_worker_that_ends(
    common_engine: Path, address: str, tmp_path: Path
) -> None:
    electron = ct.electron(ticks, executor=DaskExecutor(address))
    dispatch_id = ct.dispatch(ct.lattice(electron))(str(tmp_path / "pid"))
    process = psutil.Process(pid_in(tmp_path / "pid"))

    def end(number: int, dask_worker: Any) -> None:  # as one does whose scheduler is gone
        if os.getpid() == number:
            dask_worker.loop.add_callback(dask_worker.close, nanny=False)

    with distributed.Client(address, set_as_default=False) as client:
        client.run(end, process.ppid())
        until(lambda: ended(process))

    result = ct.get_result(dispatch_id, wait=True)
    assert "WorkerLost" in str(result.get_node_result(0)["error"])


def test_a_process_without_electrons_is_kept_for_a_while(common_engine: Path, address: str) -> None:
    def keep(seconds: float) -> float:
        from qcov.classical.executors import dask_worker

        before, dask_worker._KEPT = dask_worker._KEPT, seconds
        return before

    assert dispatched(where, "", executor=DaskExecutor(address)).status == "COMPLETED"
    with distributed.Client(address, set_as_default=False) as client:
        before = next(iter(client.run(keep, 0.2).values()))
        process = dispatched(os.getpid, executor=DaskExecutor(address)).result
        client.run(keep, before)

    until(lambda: ended(process))


def test_without_a_cluster_the_error_says_how_to_start_one(common_engine: Path) -> None:
    result = dispatched(divide, 1, executor="dask")

    assert "no cluster runs here" in str(result.get_node_result(0)["error"])
    assert "Start one with `qcov start`" in str(result.get_node_result(0)["error"])
