"""Who waits for a thread of the own cluster's workers: slots of the engine, or others.

Others are electrons of programs with another interpreter than the engine's, and clients of the
user's own. Only a cluster's own process asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_SLOT = "qcov-slot-"


def key_of(slot: str) -> str:
    """What Dask calls the task that is a slot."""
    return f"{_SLOT}{slot}"


def others_wait(scheduler: Any) -> bool:
    """Whether tasks that are no slots wait for a thread."""
    return _has_other(scheduler.queued) or any(
        len(ws.processing) - len(ws.long_running) > ws.nthreads and _has_other(ws.processing)
        for ws in scheduler.workers.values()
    )


def _has_other(tasks: Iterable[Any]) -> bool:
    return not all(str(task.key).startswith(_SLOT) for task in tasks)
