"""A qelectron against the bare QNode: value, type, dtype, shape, container, or error."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from pennylane import numpy as pnp

from qcov.qexecutors.simulator import Simulator
from qcov.quantum.cluster import QCluster
from qcov.quantum.qelectron import QElectron, qelectron

Case = Callable[[Callable[[Any], Any]], Any]


class Later(QElectron):
    """A qelectron whose every call is one for later."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run_later(*args, **kwargs).result()


class Elsewhere(QElectron):
    """A qelectron whose every call is made by another thread."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().__call__, *args, **kwargs).result()


def called_by(kind: type[QElectron]) -> Callable[[Any], QElectron]:
    def decorate(qnode: Any) -> QElectron:
        circuit = qelectron(qnode)
        circuit.__class__ = kind
        return circuit

    return decorate


def clustered(qnode: Any) -> QElectron:
    device = getattr(qnode.device, "original", qnode.device)
    inner = QCluster(executors=[Simulator.on_device(device)])
    return qelectron(qnode, executors=QCluster(executors=[Simulator.on_device(device), inner]))


WAYS: dict[str, Callable[[Any], QElectron]] = {
    "call": qelectron,
    "run_later": called_by(Later),
    "thread": called_by(Elsewhere),
    "cluster": clustered,
}


@pytest.fixture(scope="session")
def compare() -> Callable[..., None]:
    return check


def check(case: Case, way: str, tolerance: float = 1e-7) -> None:
    """Run a case on the bare QNode and on the qelectron; raises AssertionError if they differ."""
    bare, ours = _outcome(case, lambda qnode: qnode), _outcome(case, WAYS[way])
    if isinstance(bare, Exception) or isinstance(ours, Exception):
        assert (type(ours), _message(ours)) == (type(bare), _message(bare)), (ours, bare)
        return
    assert form(ours) == form(bare)
    assert close(ours, bare, tolerance), (ours, bare)


def form(result: Any) -> Any:
    """All of a result but its numbers."""
    if isinstance(result, dict):
        return dict, {key: form(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return type(result), [form(item) for item in result]
    gradient = getattr(result, "requires_grad", None)
    shape = None if isinstance(result, str) else tuple(np.shape(result))
    kind = pnp.tensor if isinstance(result, pnp.tensor) else type(result)
    return (
        kind,
        str(getattr(result, "dtype", None)),
        shape,
        None if gradient is None else bool(gradient),
    )


def close(ours: Any, theirs: Any, tolerance: float) -> bool:
    """Whether results of one form have the same numbers."""
    if isinstance(theirs, dict):
        return all(close(ours[key], theirs[key], tolerance) for key in theirs)
    if isinstance(theirs, list | tuple):
        return all(close(a, b, tolerance) for a, b in zip(ours, theirs, strict=True))
    if isinstance(theirs, str) or theirs is None:
        return bool(ours == theirs)
    mine, other = (np.asarray(x.detach() if hasattr(x, "detach") else x) for x in (ours, theirs))
    return np.allclose(mine, other, atol=tolerance, equal_nan=True)


def _outcome(case: Case, decorate: Callable[[Any], Any]) -> Any:
    try:
        return case(decorate)
    except Exception as error:  # noqa: BLE001  # the same is expected of the other one
        return error


def _message(error: Any) -> str:
    return re.sub("0x[0-9a-f]+", "", str(error))
