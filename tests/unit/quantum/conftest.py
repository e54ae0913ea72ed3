import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pydantic import PrivateAttr

from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.simulator import Simulator
from qcov.quantum.cluster import QCluster

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Lightning's threads only get in each other's way


class Recording(BaseQExecutor):
    """A user's own executor: one method. Remembers the sizes of its batches."""

    device: str = "default.qubit"
    _sizes: list[int] = PrivateAttr(default_factory=list)

    def run_batch(self, batch: CircuitBatch) -> tuple[object, ...]:
        self._sizes.append(len(batch.circuits))
        return qml.execute(
            batch.circuits,
            qml.device(self.device, wires=batch.wires),
            diff_method=None,
            mcm_method=batch.mcm_method,
            postselect_mode=batch.postselect_mode,
        )

    @property
    def sizes(self) -> list[int]:
        return self._sizes


EXECUTORS: dict[str, Callable[[], BaseQExecutor | None]] = {
    "its own": lambda: None,
    "default.qubit": Simulator,
    "lightning.qubit": lambda: Simulator("lightning.qubit"),
    "threads": lambda: Simulator(parallel="thread", workers=2),
    "cluster": lambda: QCluster(executors=[Simulator(), Simulator("lightning.qubit")]),
    "user's": Recording,
}


@pytest.fixture(params=EXECUTORS, ids=str)
def executor(request: pytest.FixtureRequest) -> BaseQExecutor | None:
    return EXECUTORS[request.param]()


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture(scope="session")
def process_simulator() -> Iterator[Simulator]:
    simulator = Simulator("lightning.qubit", parallel="process", workers=2)
    yield simulator
    simulator.close()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture(scope="session")
def compare() -> SimpleNamespace:
    """How results of two runs are compared: in value, type, dtype, shape and container."""
    return SimpleNamespace(
        same=same, close=close, form=form, values_and_gradients=values_and_gradients
    )


def form(result: Any) -> Any:
    """All of a result but its numbers."""
    if isinstance(result, dict):
        if all(isinstance(value, int | np.integer) for value in result.values()):
            return "counts"
        return {key: form(value) for key, value in result.items()}
    if isinstance(result, tuple | list):
        return type(result), [form(item) for item in result]
    kind = type(result)
    if np.shape(result) == () and kind in (np.ndarray, np.float64):
        kind = np.float64  # PennyLane gives either, by the measured observable
    return kind, getattr(result, "dtype", None), np.shape(result)


def same(ours: Any, theirs: Any, tolerance: float = 1e-7) -> None:
    assert form(ours) == form(theirs)
    close(ours, theirs, tolerance)


def close(ours: Any, theirs: Any, tolerance: float) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() <= theirs.keys() | ours.keys()
        if form(theirs) == "counts":
            total = sum(theirs.values())
            assert sum(ours.values()) == total
            for key in theirs.keys() | ours.keys():
                assert abs(ours.get(key, 0) - theirs.get(key, 0)) <= 7 * np.sqrt(total)
            return
        for key, value in theirs.items():
            close(ours[key], value, tolerance)
    elif isinstance(theirs, tuple | list):
        for mine, other in zip(ours, theirs, strict=True):
            close(mine, other, tolerance)
    else:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=tolerance)


def values_and_gradients(circuit: Any, bare: Any) -> None:
    """Hold a qelectron of one angle that measures several things against its bare QNode."""
    angles = np.linspace(0, 1, 7)
    futures = [circuit.run_later(angle) for angle in angles]
    for future, angle in zip(futures, angles, strict=True):
        same(future.result(), bare(angle))

    x = qml.numpy.array(0.3, requires_grad=True)
    first = lambda f: lambda y: f(y)[0]  # noqa: E731
    np.testing.assert_allclose(qml.grad(first(circuit))(x), qml.grad(first(bare))(x))
