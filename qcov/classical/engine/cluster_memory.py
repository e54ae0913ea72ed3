"""How much memory the workers of a cluster take, with the electrons below them.

Dask knows of its own process only, and electrons run in others. Pages that forked processes share
are counted once, where the system tells. Only a cluster's own process imports this.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_psutil: Any = importlib.import_module("psutil")

#: As Dask's nanny does: a worker is over its limit before it has all of it.
FULL = 0.95


#: What the command of a process has that runs electrons itself: see `executors.dask_worker`.
_RUNS_ELECTRONS = "engine.dask_child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a Dask worker takes, in bytes."""

    total: int  #: it, and all processes below it
    electrons: dict[int, int]  #: what runs electrons, by process, each with what is below it
    beside: frozenset[int]  #: those of them that the engine did not start, but a thread of Dask's


def used(workers: Iterable[int], *, exact: bool = True) -> dict[int, Used]:
    """What Dask workers take, by their processes.

    Args:
        workers: Their processes.
        exact: Count shared pages once, which takes longer.
    """
    below = _below()
    return {worker: _used(worker, below, exact) for worker in workers}


def _used(worker: int, below: Callable[[int], list[int]], exact: bool) -> Used:
    electrons: dict[int, int] = {}
    beside: set[int] = set()
    total = _size(worker, exact)
    for child in below(worker):
        if _runs_electrons(child):
            beside.add(child)
        else:
            total += _size(child, exact)
        for electron in [child] if child in beside else below(child):
            tree = [electron, *_all_below(electron, below)]
            electrons[electron] = sum(_size(process, exact) for process in tree)
    total += sum(electrons.values())
    return Used(total=total, electrons=electrons, beside=frozenset(beside))


def _below() -> Callable[[int], list[int]]:
    """What tells the processes that one has started."""
    if Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return _listed_below
    found: dict[int, list[int]] = {}
    for process in _psutil.process_iter(["ppid"]):
        found.setdefault(process.info["ppid"], []).append(process.pid)
    return lambda process: found.get(process, [])


def _listed_below(process: int) -> list[int]:
    """As Linux lists them, however many processes the machine has."""
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended
            found += map(int, thread.read_text().split())
    return found


def _all_below(process: int, below: Callable[[int], list[int]]) -> Iterator[int]:
    for child in below(process):
        yield child
        yield from _all_below(child, below)


def _runs_electrons(process: int) -> bool:
    with contextlib.suppress(_psutil.NoSuchProcess, _psutil.AccessDenied):
        return any(_RUNS_ELECTRONS in part for part in _psutil.Process(process).cmdline())
    return False


def _size(process: int, exact: bool) -> int:
    with contextlib.suppress(_psutil.NoSuchProcess, _psutil.AccessDenied):
        found = _psutil.Process(process)
        if exact and sys.platform == "linux":
            return int(found.memory_full_info().pss)
        return int(found.memory_info().rss)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """An electron that takes most in a worker that takes more than it may."""

    worker: int  #: the worker's process
    beside: bool  #: as in `Used`
    told: dict[str, float]  #: the electron's process, what is and may be taken, and when it was


def excess(limits: dict[int, int]) -> Iterator[Excess]:
    """Which electron takes most in each worker that takes more than it may.

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
            yield Excess(
                worker=worker,
                beside=most in found.beside,
                told={"process": most, "memory": found.total, "limit": limit, "measured": measured},
            )
