"""Where it was measured: a time says nothing without its machine."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "qcov", "pennylane", "pennylane-lightning",
    "pennylane-qiskit", "qiskit", "qiskit-aer", "qiskit-ibm-runtime",
    "amazon-braket-sdk", "amazon-braket-pennylane-plugin", "mqt.bench", "numpy", "scipy",
)  # fmt: skip
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def machine() -> dict[str, Any]:
    """What decides about speed, and what else the machine does now."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gb": _memory(),
        "load": round(os.getloadavg()[0], 2),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
    }


def versions() -> dict[str, str]:
    """Python, and the packages that circuits pass through."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two machines or two sets of versions, in words; the load may.

    >>> changed({"cores": 2, "load": 0.1}, {"cores": 4, "load": 3.0})
    ['cores 4 instead of 2']
    """
    names = sorted((before.keys() | now.keys()) - {"load"})
    return [
        f"{name} {now.get(name, 'missing')} instead of {before.get(name, 'missing')}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _processor() -> str:
    path = Path("/proc/cpuinfo")  # Linux
    found = None
    if path.exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None
