"""Every executor by class: of electrons (`LocalExecutor`) and of circuits (`Simulator`, ...)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from qcov.errors import suggest

if TYPE_CHECKING:
    from qcov.classical.executors.base import AsyncBaseExecutor, BaseExecutor, DispatchInfo
    from qcov.classical.executors.dask import DaskExecutor
    from qcov.classical.executors.local import LocalExecutor
    from qcov.classical.prepared import wrapper_fn
    from qcov.qexecutors.base import BaseQExecutor
    from qcov.qexecutors.braket import BraketQubitExecutor
    from qcov.qexecutors.braket_local import LocalBraketQubitExecutor
    from qcov.qexecutors.dask import DaskQExecutor
    from qcov.qexecutors.fakeqpu.executor import FakeQPU
    from qcov.qexecutors.ibmq import IBMQExecutor
    from qcov.qexecutors.qiskit import QiskitExecutor
    from qcov.qexecutors.simulator import Simulator
    from qcov.quantum.cluster import QCluster

__all__ = [
    "AsyncBaseExecutor",
    "BaseExecutor",
    "BaseQExecutor",
    "BraketQubitExecutor",
    "DaskExecutor",
    "DaskQExecutor",
    "DispatchInfo",
    "FakeQPU",
    "IBMQExecutor",
    "LocalBraketQubitExecutor",
    "LocalExecutor",
    "QCluster",
    "QiskitExecutor",
    "Simulator",
    "wrapper_fn",
]

_HOME_OF = {
    "AsyncBaseExecutor": "qcov.classical.executors.base",
    "BaseExecutor": "qcov.classical.executors.base",
    "DaskExecutor": "qcov.classical.executors.dask",
    "DispatchInfo": "qcov.classical.executors.base",
    "LocalExecutor": "qcov.classical.executors.local",
    "BaseQExecutor": "qcov.qexecutors.base",
    "BraketQubitExecutor": "qcov.qexecutors.braket",
    "DaskQExecutor": "qcov.qexecutors.dask",
    "FakeQPU": "qcov.qexecutors.fakeqpu.executor",
    "IBMQExecutor": "qcov.qexecutors.ibmq",
    "LocalBraketQubitExecutor": "qcov.qexecutors.braket_local",
    "QiskitExecutor": "qcov.qexecutors.qiskit",
    "Simulator": "qcov.qexecutors.simulator",
    "QCluster": "qcov.quantum.cluster",
    "wrapper_fn": "qcov.classical.prepared",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        return _plugin(name)
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def _plugin(name: str) -> Any:
    """The class of an executor that a plugin provides."""
    if name.startswith("_"):  # asked for by tools, and no executor
        raise AttributeError(name)
    found = {kind.__name__: kind for kind in _plugins()}
    if name not in found:
        advice = suggest(name, [*__all__, *found])
        raise AttributeError(f"qcov.executor has no {name!r}. {advice}")
    return found[name]


def _plugins() -> list[type[Any]]:
    from qcov.classical.executors.plugins import plugin_classes

    return list(plugin_classes().values())


def __dir__() -> list[str]:
    return sorted({*__all__, *(kind.__name__ for kind in _plugins())})
