"""Where the time of a circuit goes: from its record, and from what its executor tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: In the order in which they happen.
PHASES = ("build", "wait", "transpile", "queue", "run", "fetch", "return")

MEANING = {
    "build": "until the circuit is there and handed over",
    "wait": "in this process, until the executor begins",
    "transpile": "the executor fits the circuit to its backend",
    "queue": "at the provider",
    "run": "on the backend; all that the executor does, where it tells no more",
    "fetch": "the results travel",
    "return": "until the caller has the value",
}

_TOLD = ("transpile", "queue", "run", "fetch")

Seconds = float
Phases = Mapping[str, Seconds | None]


def of_call(record: Mapping[str, Any], *, begun: float, ended: float) -> Phases:
    """The phases of one call; None where nobody knows.

    Args:
        record: The record of the circuit, as data.
        begun: When the caller called, in unix seconds.
        ended: When the caller had the value.

    What an executor knows, it tells in `metadata["timing"]` of its `CircuitResult`: seconds by
    any of "transpile", "queue", "run", "fetch".
    """
    told = timing(record)
    run = told.get("run")
    return {
        "build": _between(begun, record.get("queued")),
        "wait": _between(record.get("queued"), record.get("started")),
        **{name: told.get(name) for name in _TOLD},
        "run": record.get("execution_time") if run is None else run,
        "return": _between(record.get("finished"), ended),
    }


def timing(record: Mapping[str, Any]) -> dict[str, Seconds]:
    """What the executor told, without what is no number of seconds.

    >>> timing({"metadata": {"timing": {"run": 0.5, "fetch": "soon", "coffee": 1.0}}})
    {'run': 0.5}
    """
    metadata = record.get("metadata")
    told = metadata.get("timing") if isinstance(metadata, Mapping) else None
    if not isinstance(told, Mapping):
        return {}
    return {name: float(told[name]) for name in _TOLD if _is_seconds(told.get(name))}


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def _between(one: Seconds | None, other: Seconds | None) -> Seconds | None:
    """Seconds from one moment to another; the clock's steps do not make them negative."""
    return None if one is None or other is None else max(0.0, other - one)


def medians(samples: Sequence[Phases]) -> Phases:
    """Each phase's median over samples; None where no sample knows it."""
    known = {name: [one[name] for one in samples if one.get(name) is not None] for name in PHASES}
    return {name: float(np.median(values)) if values else None for name, values in known.items()}
