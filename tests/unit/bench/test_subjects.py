"""Who is measured: executors as people write them, and peers."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcov.errors import CannotMeasure
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.simulator import Simulator
from qcov_bench.backends import devices, textbook, variational
from qcov_bench.backends.comparison import subjects_of
from qcov_bench.backends.devices import DeviceSubject, Missing
from qcov_bench.backends.executors import executor_of, label_of
from qcov_bench.backends.ours import ExecutorSubject

MODULE = """
from qcov.executor import Simulator

instance = Simulator("lightning.qubit")

def made():
    return Simulator(workers=3)

class Own:
    inner = instance

number = 3

def broken():
    raise RuntimeError("no backend today")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "bench_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "bench_mine", raising=False)
    return "bench_mine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Simulator", Simulator()),
        ("Simulator:lightning.qubit", Simulator("lightning.qubit")),
        (
            "Simulator:lightning.qubit,parallel=thread,workers=2",
            Simulator("lightning.qubit", parallel="thread", workers=2),
        ),
        ("Simulator:shots=null", Simulator(shots=None)),
        ("bench_mine:instance", Simulator("lightning.qubit")),
        ("bench_mine:made", Simulator(workers=3)),
        ("bench_mine:Own.inner", Simulator("lightning.qubit")),
    ],
)
def test_executors_may_be_written_in_several_ways(
    text: str, expected: BaseQExecutor, module: str
) -> None:
    assert executor_of(text) == expected


def test_a_section_of_the_settings_is_an_executor(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "qcov.conf").write_text(
        '[qelectron.fast]\ntype = "Simulator"\ndevice = "lightning.qubit"\nworkers = 2\n'
        "[qelectron.Simulator]\nworkers = 1\n"
        '[qelectron.odd]\ntype = "Simulatr"\n'
    )

    assert executor_of("[qelectron.fast]") == Simulator("lightning.qubit", workers=2)
    assert executor_of("[qelectron.Simulator]") == Simulator(workers=1)
    with pytest.raises(CannotMeasure, match="'Simulatr' is no class .* Did you mean 'Simulator'"):
        executor_of("[qelectron.odd]")
    with pytest.raises(CannotMeasure, match="no such section in the settings. Did you mean 'fast'"):
        executor_of("[qelectron.fst]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Simulatr", "Did you mean 'Simulator'"),
        ("Simulator:lihgtning.qubit", "Did you mean 'lightning.qubit'"),
        ("Simulator:wrkers=2", "Did you mean 'workers'"),
        ("BaseQExecutor", "there is none of this name"),
        ("LocalExecutor", "there is none of this name"),
        ("no_such_module:thing", "ModuleNotFoundError"),
        ("bench_mine:nothing", "AttributeError"),
        ("bench_mine:number", "3 is no executor"),
        ("bench_mine:broken", "RuntimeError: no backend today"),
        ("", "there is none of this name"),
    ],
)
def test_what_means_no_executor_is_refused(text: str, said: str, module: str) -> None:
    with pytest.raises(CannotMeasure, match=said) as refused:
        executor_of(text)
    shown = text.replace("=2", "=***")
    assert str(refused.value).startswith(f"the executor {shown!r}: ")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("FakeQPU:token=canary-7f3a,seed=1", "FakeQPU:token=Credential('***'),seed=1"),
        ('FakeQPU:token="canary-7f3a"', "FakeQPU:token=Credential('***')"),
        ("FakeQPU:token=env:HOME", "FakeQPU:token=Credential('env:HOME')"),
        ("Simulator:lightning.qubit,workers=2", "Simulator:lightning.qubit,workers=2"),
        ("IBMQExecutor:ibmqx_token=canary-7f3a", "IBMQExecutor:ibmqx_token=Credential('***')"),
    ],
)
@pytest.mark.filterwarnings("ignore:IBMQExecutor")
def test_no_secret_is_in_a_label(text: str, label: str) -> None:
    assert label_of(text, executor_of(text)) == label


@pytest.mark.parametrize(
    "text",
    [
        "FakeQPU:tokn=canary-7f3a",
        "FakeQPUU:token=canary-7f3a",
        "FakeQPU:token=x,canary-7f3a",
        "FakeQPU:token=12345678",
        "Simulator:token=canary-7f3a",
        "[qelectron.wrong]",
    ],
)
def test_no_secret_is_in_a_refusal(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "qcov.conf").write_text(
        '[qelectron.wrong]\ntype = "FakeQPU"\ntoken = 12345678\ntokn = "canary-7f3a"\n'
    )
    with pytest.raises(CannotMeasure) as refused:
        executor_of(text)
    assert "canary-7f3a" not in str(refused.value)
    assert "12345678" not in str(refused.value)


# -- who is beside them ------------------------------------------------------------------------


def labels(executors: Sequence[Any], peers: Sequence[str] | None) -> dict[str, str | None]:
    return {one.label: one.bare for one in subjects_of(executors, peers)[0]}


def test_the_bare_device_of_an_executor_stands_beside_it() -> None:
    found = labels([Simulator(), "Simulator:lightning.qubit"], None)

    assert found["Simulator:default.qubit"] == "PennyLane default.qubit"
    assert found["Simulator:lightning.qubit"] == "PennyLane lightning.qubit"
    assert {"PennyLane default.qubit", "PennyLane lightning.qubit"} < found.keys()


def test_names_are_told_apart_and_what_is_not_beside_is_no_yardstick() -> None:
    assert labels([Simulator(), Simulator(workers=1), "Simulator"], []) == {
        "Simulator:default.qubit (1)": None,
        "Simulator:default.qubit (2)": None,
        "Simulator": None,
    }


@pytest.mark.parametrize(
    ("kind", "device", "backend", "expected"),
    [
        ("Simulator", "lightning.qubit", None, "lightning.qubit"),
        ("DaskQExecutor", "default.qubit", None, "default.qubit"),
        ("Mine", "a machine of mine", None, None),
        ("QCluster", None, None, None),
        ("LocalBraketQubitExecutor", "x", "braket_dm", "braket.local.qubit:braket_dm"),
        ("LocalBraketQubitExecutor", None, None, "braket.local.qubit"),
        ("QiskitExecutor", "local_sampler", "FakeManilaV2", "qiskit.remote:FakeManilaV2"),
        ("QiskitExecutor", "local_sampler", "fake_manila", "qiskit.remote:FakeManilaV2"),
        ("QiskitExecutor", "local_sampler", "FakeManila", "qiskit.remote:FakeManilaV2"),
        ("QiskitExecutor", "local_sampler", "aer_simulator", "qiskit.aer"),
        ("QiskitExecutor", "local_sampler", None, "qiskit.aer"),
        ("QiskitExecutor", "local_sampler", "statevector", None),
        ("QiskitExecutor", "local_sampler", "no such backend", None),
        ("QiskitExecutor", "sampler", "ibm_torino", None),
        ("IBMQExecutor", "sampler", "ibmq_qasm_simulator", None),
    ],
)
def test_which_device_is_the_same_without_qcov(
    kind: str, device: str | None, backend: str | None, expected: str | None
) -> None:
    assert devices.bare_of(kind, device, backend) == expected


def test_settings_decide_about_the_identity_of_an_executor() -> None:
    one, same, other = (
        ExecutorSubject(executor=executor, label="it").identity
        for executor in (Simulator(), Simulator(), Simulator(workers=2))
    )

    assert one == same != other


def test_peers_that_are_not_installed_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._NEEDS, "qiskit.aer", ("no.such_module", "qcov[qiskit]"))

    found = devices.peer("qiskit.aer")

    assert found == Missing(
        label="PennyLane qiskit.aer", reason="not installed (pip install 'qcov[qiskit]')"
    )


def test_a_peer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(CannotMeasure, match="Did you mean 'default.qubit'"):
        devices.peer("defualt.qubit")


@pytest.mark.parametrize("name", ["qiskit.aer", "qiskit.remote:FakeManilaV2", "braket.local.qubit"])
def test_a_peer_runs_the_same_circuits(name: str) -> None:
    found = devices.peer(name)
    if isinstance(found, Missing):
        pytest.skip(found.reason)
    with found.open(textbook.ghz(2, 1, 0), 100) as runner:
        [call] = runner.call(np.zeros(0)).values
        batch = runner.batch([np.zeros(0)] * 3)
    assert sum(call.values()) == 100
    assert (batch.circuits, len(batch.values)) == (3, 3)
    assert found.estimate(None, 5) == 0.0


def test_a_peer_that_would_take_shots_unasked_refuses_analytic_circuits() -> None:
    found = devices.peer("qiskit.aer")
    if isinstance(found, Missing):
        pytest.skip(found.reason)

    assert found.refusal(None) == "it has no analytic results"
    assert found.refusal(10) is None


def test_a_fake_backend_that_does_not_exist_is_refused() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(CannotMeasure, match="Did you mean 'FakeManilaV2'"):
        devices.peer("qiskit.remote:FakeManilV2")


class Counting(BaseQExecutor):
    """Says which shots its circuits have."""

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        return [np.array(float(circuit.shots.total_shots)) for circuit in batch.circuits]


def test_an_executor_takes_the_shots_of_the_case() -> None:
    executor = Counting(shots=77)
    subject = ExecutorSubject(executor=executor, label="it")

    with subject.open(variational.vqe(2, 1, 0), 5) as runner:
        [value] = runner.call(np.zeros((2, 2, 2))).values

    assert value == 5
    assert executor.shots == 77


class Failing(BaseQExecutor):
    """Fails the first circuit at once, and takes its time for the others."""

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        RUNS.append("begun")
        if len(RUNS) > 1:
            time.sleep(0.05)  # what it takes, so that it is still at it when the error is there
        RUNS.append("ended")
        return [ValueError("no")] * len(batch.circuits)


RUNS: list[str] = []


def test_nothing_of_a_batch_that_has_failed_still_runs() -> None:
    RUNS.clear()
    subject = ExecutorSubject(executor=Failing(max_batch=1), label="it")

    with subject.open(textbook.ghz(2, 1, 0), 5) as runner, pytest.raises(ValueError, match="no"):
        runner.batch([np.zeros(0)] * 4)

    assert RUNS.count("begun") == RUNS.count("ended") > 0


def test_a_device_has_a_label_of_its_own() -> None:
    found = devices.peer("lightning.qubit")

    assert isinstance(found, DeviceSubject)
    assert (found.label, found.role, found.bare) == ("PennyLane lightning.qubit", "peer", None)
