"""How much memory the workers of a cluster take, with the electrons below them.

Dask knows of its own process only, and electrons run in others. Pages that forked processes share
are counted once, where the system tells. Only a cluster's own process imports this.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_psutil: Any = importlib.import_module("psutil")

#: As Dask's nanny does: a worker is over its limit before it has all of it.
FULL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a Dask worker takes, in bytes."""

    total: int  #: it, and all processes below it
    electrons: dict[int, int]  #: what runs electrons, by process, each with what is below it


def used(workers: Iterable[int], *, exact: bool = True) -> dict[int, Used]:
    """What Dask workers take, by their processes.

    Args:
        workers: Their processes.
        exact: Count shared pages once, which takes longer.
    """
    below: dict[int, list[Any]] = {}
    for process in _psutil.process_iter(["ppid"]):
        below.setdefault(process.info["ppid"], []).append(process)
    return {worker: _used(worker, below, exact) for worker in workers}


def _used(worker: int, below: dict[int, list[Any]], exact: bool) -> Used:
    electrons: dict[int, int] = {}
    total = _size(worker, exact)
    for zygote in below.get(worker, ()):
        total += _size(zygote.pid, exact)
        for child in below.get(zygote.pid, ()):
            tree = [child.pid, *_all_below(child.pid, below)]
            electrons[child.pid] = sum(_size(process, exact) for process in tree)
    return Used(total=total + sum(electrons.values()), electrons=electrons)


def _all_below(process: int, below: dict[int, list[Any]]) -> Iterator[int]:
    for child in below.get(process, ()):
        yield child.pid
        yield from _all_below(child.pid, below)


def _size(process: int, exact: bool) -> int:
    with contextlib.suppress(_psutil.NoSuchProcess, _psutil.AccessDenied):
        found = _psutil.Process(process)
        if exact and sys.platform == "linux":
            return int(found.memory_full_info().pss)
        return int(found.memory_info().rss)
    return 0


def excess(limits: dict[int, int]) -> Iterator[dict[str, float]]:
    """Which electron takes most in each worker that takes more than it may.

    With how much may be taken, and when it was measured.

    Args:
        limits: The limits of workers, by their processes, in bytes.
    """
    rough = used(limits, exact=False)  # never too little
    suspects = [worker for worker, found in rough.items() if found.total > FULL * limits[worker]]
    measured = time.monotonic()  # the engine's clock too
    for worker, found in (used(suspects) if suspects else {}).items():
        limit = int(FULL * limits[worker])
        if found.total > limit and found.electrons:
            most = max(found.electrons, key=found.electrons.__getitem__)
            about = {"process": most, "memory": found.total, "limit": limit}
            yield {**about, "measured": measured}
