"""qcov runs hybrid quantum-classical programs: mark, dispatch, and get on with the science.

The public names are loaded on first use, so that `import qcov` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from qcov.version import __version__

if TYPE_CHECKING:
    from qcov import aio, executor, fs, fs_strategies, jobs, selectors
    from qcov.budget import Budget
    from qcov.classical import leptons, triggers
    from qcov.classical.deps import DepsBash, DepsCall, DepsModule, DepsPip
    from qcov.classical.dispatch import (
        cancel,
        dispatch,
        dispatch_sync,
        get_result,
        list_dispatches,
        redispatch,
        watch,
    )
    from qcov.classical.electron import Electron, electron, wait
    from qcov.classical.lattice import Lattice, lattice
    from qcov.classical.leptons import Lepton
    from qcov.classical.registrations import list_triggers
    from qcov.classical.result import Result
    from qcov.classical.status import Status as status  # noqa: N813  # Covalent's spelling
    from qcov.classical.triggers import stop_triggers
    from qcov.config import get_config, reload_config, set_config
    from qcov.context import get_context
    from qcov.credentials import Credential
    from qcov.mapping import map  # noqa: A004
    from qcov.quantum.cache import CircuitCache
    from qcov.quantum.cluster import QCluster
    from qcov.quantum.futures import as_completed, gather
    from qcov.quantum.qelectron import qelectron
    from qcov.transport import TransportableObject

__all__ = [
    "Budget",
    "CircuitCache",
    "Credential",
    "DepsBash",
    "DepsCall",
    "DepsModule",
    "DepsPip",
    "Electron",
    "Lattice",
    "Lepton",
    "QCluster",
    "Result",
    "TransportableObject",
    "__version__",
    "aio",
    "as_completed",
    "cancel",
    "dispatch",
    "dispatch_sync",
    "electron",
    "executor",
    "fs",
    "fs_strategies",
    "gather",
    "get_config",
    "get_context",
    "get_result",
    "jobs",
    "lattice",
    "leptons",
    "list_dispatches",
    "list_triggers",
    "map",
    "qelectron",
    "redispatch",
    "reload_config",
    "selectors",
    "set_config",
    "status",
    "stop_triggers",
    "triggers",
    "wait",
    "watch",
]

_HOMES = {
    "qcov.aio": ("aio",),
    "qcov.budget": ("Budget",),
    "qcov.classical.deps": ("DepsBash", "DepsCall", "DepsModule", "DepsPip"),
    "qcov.classical.dispatch": (
        *("cancel", "dispatch", "dispatch_sync", "get_result", "list_dispatches"),
        *("redispatch", "watch"),
    ),
    "qcov.classical.electron": ("Electron", "electron", "wait"),
    "qcov.classical.leptons": ("Lepton", "leptons"),
    "qcov.classical.lattice": ("Lattice", "lattice"),
    "qcov.classical.registrations": ("list_triggers",),
    "qcov.classical.result": ("Result",),
    "qcov.classical.status": ("status",),
    "qcov.classical.triggers": ("stop_triggers", "triggers"),
    "qcov.config": ("get_config", "reload_config", "set_config"),
    "qcov.context": ("get_context",),
    "qcov.credentials": ("Credential",),
    "qcov.executor": ("executor",),
    "qcov.fs": ("fs",),
    "qcov.fs_strategies": ("fs_strategies",),
    "qcov.jobs": ("jobs",),
    "qcov.mapping": ("map",),
    "qcov.quantum.cache": ("CircuitCache",),
    "qcov.quantum.cluster": ("QCluster",),
    "qcov.quantum.futures": ("as_completed", "gather"),
    "qcov.quantum.qelectron": ("qelectron",),
    "qcov.selectors": ("selectors",),
    "qcov.transport": ("TransportableObject",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("aio", "executor", "fs", "fs_strategies", "jobs", "leptons", "selectors", "triggers")
_RENAMED = {"status": "Status"}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qcov' has no attribute {name!r}")
    module = importlib.import_module(_HOME_OF[name])
    value = module if name in _MODULES else getattr(module, _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
