"""What is handed to the engine: a graph as JSON, with the blobs that it refers to.

Constants are stored once per content. A payload larger than `qcov.store.blobs.INLINE_LIMIT` does
not travel in the manifest when the sender can write to where the store has such payloads.
"""

from __future__ import annotations

import functools
import os
import platform
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qcov.classical.executors.registry import executor_dict
from qcov.classical.lattice import Lattice
from qcov.classical.preload import heavy_packages
from qcov.errors import EnvironmentMismatch
from qcov.transport import dumps, shorten

Manifest = dict[str, Any]

#: Variables that differ between two runs of a program and mean nothing to it.
_FLEETING = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})


def build_manifest(lattice: Lattice, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Manifest:
    """Build a lattice's graph for these arguments and describe it."""
    graph = lattice.graph(*args, **kwargs)
    inputs = dumps({"args": args, "kwargs": dict(kwargs)}, what=f"an argument of {lattice.name!r}")
    function = dumps(lattice, what=f"the lattice {lattice.name!r}")
    shown = {
        "args": [shorten(value, 200) for value in args],
        "kwargs": {name: shorten(value, 200) for name, value in kwargs.items()},
    }
    pip = lattice.get_metadata("deps_pip")
    return {
        **graph.manifest(),
        "name": lattice.name,
        "packages": pip.packages if pip else [],
        "workflow_executor": executor_dict(lattice.get_metadata("workflow_executor") or "local"),
        "source": lattice.source,
        "inputs": graph.add_blob(inputs),
        "inputs_repr": shown,
        "lattice": graph.add_blob(function),
        "blobs": graph.blobs,
    }


def code_of(manifest: Manifest) -> list[bytes]:
    """The blobs of a manifest that are code, or come before it."""
    code = [function["digest"] for function in manifest["functions"]]
    code += [manifest["lattice"], manifest["inputs"]]
    return [manifest["blobs"][digest] for digest in code]


def environment(code: Iterable[bytes]) -> dict[str, Any]:
    """What a worker needs to import what this program imports.

    Args:
        code: Blobs of what it will run.
    """
    here = _here()
    return {
        "executable": sys.executable,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "version": platform.python_version(),
        "platform": _machine(),
        "program": sys.argv[0] if sys.argv else "",
        "host": socket.gethostname(),
        "cwd": str(here),
        "sys_path": [*_seen_from(here, tuple(sys.path))],
        "preload": heavy_packages(code),
    }


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    return platform.platform()


@functools.lru_cache(maxsize=16)
def _seen_from(here: Path, entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(here / entry) for entry in entries)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise EnvironmentMismatch(
            reason=f"the folder that this program runs in is gone ({error.strerror}), "
            "so electrons cannot run there",
            advice="Change to a folder that exists, or start the program in one.",
        ) from error


def variables() -> dict[str, str]:
    """This program's environment variables, for its electrons; they are not stored."""
    return {name: value for name, value in os.environ.items() if name not in _FLEETING}
