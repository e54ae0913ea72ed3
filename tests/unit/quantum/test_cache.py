"""Results are reused when, and only when, the very same circuit ran on an equal executor."""

import contextlib
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

from qcov.errors import CacheUnavailable, InvalidSetting
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.cache import CircuitCache
from qcov.quantum.cluster import QCluster
from qcov.quantum.qelectron import QElectron, qelectron


@pytest.fixture
def cache(tmp_path: Path) -> CircuitCache:
    return CircuitCache(tmp_path / "cache.sqlite")


@pytest.fixture
def sampled(tmp_path: Path) -> CircuitCache:
    return CircuitCache(tmp_path / "cache.sqlite", shots=True)


def build(measure: Callable[[], Any] = lambda: qml.expval(qml.Z(0)), **options: Any) -> Any:
    @qml.qnode(qml.device("default.qubit", wires=2), **options)
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        return measure()

    return circuit


def said(circuit: QElectron) -> list[str | None]:
    return [record.cache for record in circuit.history]


MEASUREMENTS: dict[str, Callable[[], Any]] = {
    "expval": lambda: qml.expval(qml.Z(0)),
    "several": lambda: (qml.var(qml.X(1)), qml.probs([0, 1])),
    "state": qml.state,
    "density matrix": lambda: qml.density_matrix([0]),
    "dict": lambda: {"energy": qml.expval(qml.Z(0))},
    "entropy": lambda: qml.vn_entropy([0]),
}
SAMPLED: dict[str, Callable[[], Any]] = {
    "sample": qml.sample,
    "counts": qml.counts,
    "all outcomes": lambda: qml.counts(qml.Z(0), all_outcomes=True),
    "several": lambda: (qml.expval(qml.X(0)), qml.counts(wires=[0])),
}


@pytest.mark.parametrize("measurement", MEASUREMENTS)
@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
def test_a_hit_gives_what_the_circuit_gave(
    measurement: str, device: str, cache: CircuitCache, compare: SimpleNamespace
) -> None:
    bare = build(MEASUREMENTS[measurement], diff_method="parameter-shift")
    circuit = qelectron(bare, executors=Simulator(device), cache=cache)

    first, again, later = circuit(0.3), circuit(0.3), circuit.run_later(0.3).result()
    compare.same(first, bare(0.3))
    compare.same(again, first, tolerance=0.0)
    compare.same(later, first, tolerance=0.0)
    assert said(circuit) == ["stored", "hit", "hit"]
    assert [record.device for record in circuit.history] == [device] * 3


@pytest.mark.parametrize("measurement", SAMPLED)
@pytest.mark.parametrize("shots", [100, [50, 100]])
def test_samples_are_kept_by_consent_only(
    measurement: str, shots: Any, tmp_path: Path, sampled: CircuitCache, compare: SimpleNamespace
) -> None:
    bare = build(SAMPLED[measurement], shots=shots)
    without = qelectron(bare, cache=CircuitCache(tmp_path / "other.sqlite"))
    without(0.7), without(0.7)
    assert (
        said(without)
        == ["not cached: it has finite shots; CircuitCache(shots=True) keeps their samples"] * 2
    )

    circuit = qelectron(bare, cache=sampled)
    first, again = circuit(0.7), circuit(0.7)
    compare.same(again, first, tolerance=0.0)
    np.testing.assert_equal(again, first)
    assert said(circuit) == ["stored", "hit"]


@pytest.mark.parametrize(
    "value", [np.array(0.3), pnp.array(0.3), pnp.array(0.3, requires_grad=True)]
)
@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
def test_arrays_of_either_kind(
    device: str, value: Any, cache: CircuitCache, compare: SimpleNamespace
) -> None:
    bare = build().update(device=qml.device(device, wires=2))
    circuit = qelectron(bare, cache=cache)
    for angle in (value, 0.3, value):
        compare.same(circuit(angle), bare(angle), tolerance=0.0)
    assert said(circuit)[2] == "hit"


def test_what_differs_is_not_mixed_up(cache: CircuitCache) -> None:
    """PennyLane's own cache takes these for one circuit."""

    @qelectron(cache=cache)
    @qml.qnode(qml.device("default.qubit", wires=5))
    def circuit(matrix: Any) -> Any:
        qml.Hadamard(0)
        qml.QubitUnitary(matrix, wires=range(5))
        qml.Hadamard(0)
        return qml.expval(qml.Z(0))

    middle = np.eye(32, dtype=complex)
    middle[16, 16] = -1
    assert circuit(np.eye(32)) == pytest.approx(1)
    assert circuit(middle) == pytest.approx(-1)
    assert said(circuit) == ["stored", "stored"]


def test_what_surrounds_the_circuit_counts(cache: CircuitCache) -> None:
    bare = build(qml.probs)
    wider = bare.update(device=qml.device("default.qubit", wires=3))
    for other in (
        qelectron(bare, cache=cache),
        qelectron(wider, cache=cache),
        qelectron(bare, executors=Simulator("lightning.qubit"), cache=cache),
        qelectron(bare, executors=Simulator("lightning.qubit", batch_obs=True), cache=cache),
        qelectron(bare, executors=Simulator("default.mixed"), cache=cache),
    ):
        other(0.3)
        assert said(other) == ["stored"]
    assert len(cache) == 5


def test_how_fast_an_executor_is_does_not_count(cache: CircuitCache) -> None:
    for parallel in ("thread", False):
        circuit = qelectron(build(), executors=Simulator(parallel=parallel), cache=cache)
        circuit(0.3)
    assert said(circuit) == ["hit"]


def test_shifted_circuits_are_reused(cache: CircuitCache) -> None:
    circuit = qelectron(build(diff_method="parameter-shift"), cache=cache)
    x = pnp.array(0.3, requires_grad=True)

    first = qml.grad(circuit)(x)
    assert said(circuit) == ["stored"] * 3
    assert qml.grad(circuit)(x) == first == pytest.approx(-np.sin(0.3))
    assert said(circuit)[3:] == ["hit"] * 3


class Counting(BaseQExecutor):
    """Says what its results depend on."""

    limit: float = 1.0

    def run_batch(self, batch: CircuitBatch) -> list[Any]:
        ran.extend(batch.circuits)
        return [self._run(circuit) for circuit in batch.circuits]

    def _run(self, circuit: Any) -> Any:
        angle = circuit.operations[0].data[0]
        if angle > self.limit:
            return ValueError("too large")
        return CircuitResult(value=float(angle), backend="mine", job_id="7")

    def cache_key(self) -> object:
        return {"limit": self.limit}


ran: list[Any] = []


def test_an_executor_of_ones_own(cache: CircuitCache, recording: Any) -> None:
    ran.clear()
    circuit = qelectron(build(), executors=Counting(), cache=cache)
    assert (circuit(0.5), circuit(0.5)) == (0.5, 0.5)
    assert len(ran) == 1
    stored, hit = circuit.history
    assert (stored.backend, hit.backend) == ("mine", "mine")
    assert (stored.job_id, hit.job_id) == ("7", None)

    other = qelectron(build(), executors=recording, cache=cache)
    other(0.5)
    assert said(other) == [
        "not cached: Recording does not say what its results depend on (cache_key)"
    ]


def test_a_key_that_cannot_be_made_is_no_obstacle(cache: CircuitCache) -> None:
    class Broken(Counting):
        def cache_key(self) -> object:
            raise RuntimeError("no idea")

    circuit = qelectron(build(), executors=Broken(), cache=cache)
    assert circuit(0.5) == 0.5
    assert said(circuit) == ["not cached: cache_key of Broken raised RuntimeError: no idea"]


def test_a_failure_is_not_kept(cache: CircuitCache) -> None:
    for limit in (1.0, 3.0):
        circuit = qelectron(build(), executors=Counting(limit=limit), cache=cache)
        future = circuit.run_later(2.0)
        assert (future.exception() is None) == (limit == 3.0)
    assert len(cache) == 1


def test_circuits_of_a_batch_that_are_alike(cache: CircuitCache) -> None:
    circuit = qelectron(build(), cache=cache)
    values = [future.result() for future in [circuit.run_later(0.3) for _ in range(10)]]
    assert values == [values[0]] * 10
    assert len(cache) == 1


def test_a_cluster_keeps_what_each_of_its_executors_gave(cache: CircuitCache) -> None:
    cluster = QCluster(executors=[Simulator(), Simulator("lightning.qubit")])
    circuit = qelectron(build(), executors=cluster, cache=cache)
    for _ in range(4):
        circuit(0.3)
    assert said(circuit) == ["stored", "stored", "hit", "hit"]


def test_copies_keep_the_cache(cache: CircuitCache) -> None:
    circuit = qelectron(build(), cache=cache)
    circuit(0.3)
    for other in (
        cloudpickle.loads(cloudpickle.dumps(circuit)),
        circuit.update(interface="autograd"),
        qml.set_shots(circuit, None),
        qelectron(circuit, cache=cache),
    ):
        assert other(0.3) == circuit(0.3)
        assert said(other)[-1] == "hit"


AGAIN = """
import sys
import pennylane as qml
import qcov as ct

@ct.qelectron(cache=True)
@qml.qnode(qml.device("lightning.qubit", wires=1))
def circuit(x):
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))

circuit(0.3)
print(circuit.history[0].cache)
"""


@pytest.mark.process
def test_it_outlives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path))
    command = [sys.executable, "-c", AGAIN]
    answers = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert answers == ["stored", "hit"]


def test_a_file_that_cannot_be_used_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"something else " * 1000)
    circuit = qelectron(build(), cache=CircuitCache(path))
    assert circuit(0.3) == build()(0.3)
    (answer,) = said(circuit)
    assert answer is not None
    assert answer.startswith(f"not cached: the cache {path} cannot be used")


@pytest.mark.parametrize("place", ["garbage", "folder", "below a file", "name too long"])
@pytest.mark.parametrize("use", [len, CircuitCache.clear])
def test_a_file_that_cannot_be_used_is_named(
    place: str, use: Callable[[CircuitCache], object], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"something else " * 1000)
    path = {
        "garbage": garbage,
        "folder": tmp_path / "folder",
        "below a file": garbage / "cache.sqlite",
        "name too long": tmp_path / ("x" * 1000),
    }[place]
    cache = CircuitCache(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(CacheUnavailable, match="give CircuitCache another path") as caught:
        use(cache)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("path", ["", ".", "~nobody-of-this-name/x", "a\0b", "\ud800"])
def test_a_path_that_can_be_no_file_is_refused(path: str) -> None:
    with pytest.raises(InvalidSetting, match="path must be the path of a file"):
        CircuitCache(path)


def test_a_file_that_was_deleted_is_made_again(cache: CircuitCache) -> None:
    circuit = qelectron(build(), cache=cache)
    circuit(0.3)
    assert cache.path is not None
    cache.path.unlink()
    assert len(cache) == 0
    circuit(0.3), circuit(0.3)
    assert said(circuit) == ["stored", "stored", "hit"]
    assert len(CircuitCache(cache.path)) == 1


def test_clear_and_copies(cache: CircuitCache) -> None:
    circuit = qelectron(build(), cache=cache)
    circuit(0.3)
    other = pickle.loads(pickle.dumps(cache))
    assert (other, len(other)) == (cache, 1)
    other.clear()
    assert len(cache) == 0
    circuit(0.3)
    assert said(circuit) == ["stored", "stored"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CircuitCache(3),
        lambda: CircuitCache(shots=1),
        lambda: CircuitCache(size_limit=0),
        lambda: qelectron(build(), cache="yes"),
    ],
    ids=["path", "shots", "size_limit", "cache"],
)
def test_nonsense_is_refused(make: Callable[[], object], request: pytest.FixtureRequest) -> None:
    with pytest.raises(InvalidSetting, match=request.node.callspec.id):
        make()


def test_a_damaged_entry_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    circuit = qelectron(build(), cache=CircuitCache(path))
    circuit(0.3)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE entries SET value = x'ff00ff'")
    assert circuit(0.3) == build()(0.3)
    assert said(circuit) == ["stored", f"not cached: its entry in the cache {path} is damaged"]
