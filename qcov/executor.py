"""Every executor by class: of electrons (`LocalExecutor`) and of circuits (`Simulator`, ...)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcov.classical.executors.base import BaseExecutor
    from qcov.classical.executors.local import LocalExecutor
    from qcov.qexecutors.base import BaseQExecutor
    from qcov.qexecutors.dask import DaskQExecutor
    from qcov.qexecutors.simulator import Simulator
    from qcov.quantum.cluster import QCluster

__all__ = [
    "BaseExecutor",
    "BaseQExecutor",
    "DaskQExecutor",
    "LocalExecutor",
    "QCluster",
    "Simulator",
]

_HOME_OF = {
    "BaseExecutor": "qcov.classical.executors.base",
    "LocalExecutor": "qcov.classical.executors.local",
    "BaseQExecutor": "qcov.qexecutors.base",
    "DaskQExecutor": "qcov.qexecutors.dask",
    "Simulator": "qcov.qexecutors.simulator",
    "QCluster": "qcov.quantum.cluster",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"qcov.executor has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
