"""Values as a person reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: What each status is called on a page, and the symbol beside it; colour is never alone.
_STATUSES = {
    "NEW_OBJECT": ("Waiting", "waiting"),
    "PENDING": ("Pending", "waiting"),
    "RUNNING": ("Running", "running"),
    "COMPLETED": ("Completed", "completed"),
    "FAILED": ("Failed", "failed"),
    "CANCELING": ("Canceling", "cancelled"),
    "CANCELLED": ("Cancelled", "cancelled"),
}


def label(status: str) -> str:
    """The name of a status."""
    return _STATUSES.get(status, (status.capitalize(), "waiting"))[0]


def icon(status: str) -> str:
    """The symbol of a status."""
    return _STATUSES.get(status, ("", "waiting"))[1]


def node_label(name: str) -> str:
    """What a node is called in a drawing: a parameter by its value, a collection by its type.

    >>> node_label(":parameter:0.74"), node_label(":electron_list:"), node_label("vqe")
    ('0.74', 'list', 'vqe')
    """
    if name.startswith(":parameter:"):
        return name.removeprefix(":parameter:")
    return name.strip(":").removeprefix("electron_") if name.startswith(":") else name


def duration(seconds: float | None) -> str:
    """A length of time, short.

    >>> [duration(s) for s in (None, 0.0042, 3.14159, 75, 3725)]
    ['-', '4 ms', '3.1 s', '1 m 15 s', '1 h 02 m']
    """
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m"


def brief_duration(seconds: float | None) -> str:
    """As `duration`, for what may take microseconds.

    >>> [brief_duration(s) for s in (None, 0.0, 0.0000421, 0.0042, 3.14159)]
    ['-', '0 µs', '42 µs', '4.2 ms', '3.1 s']
    """
    if seconds is None or seconds >= 0.1:
        return duration(seconds)
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.001 else f"{seconds * 1e3:.1f} ms"


def cost(amounts: Mapping[str, Any] | None) -> str:
    """What something has cost, by unit.

    >>> cost({"USD": 0.3, "seconds": 2.0}), cost(None)
    ('$0.30, 2 seconds', '-')
    """
    if not amounts:
        return "-"
    return ", ".join(_amount(unit, amount) for unit, amount in amounts.items())


def _amount(unit: str, amount: Any) -> str:
    if not isinstance(amount, int | float):
        return f"{amount} {unit}"
    if unit == "USD":
        return f"${amount:.2f}" if amount >= 0.1 or not amount else f"${amount:.4g}"
    return f"{amount:.4g} {unit}"


def lasted(started: float | None, ended: float | None) -> float | None:
    """How long something took, or takes until now; None before it started."""
    if started is None:
        return None
    return (time.time() if ended is None else ended) - started


def exactly(moment: float | None) -> str:
    """A moment in UTC, as `<time datetime>` wants it; scripts show it in local time.

    >>> exactly(0.0)
    '1970-01-01T00:00:00Z'
    """
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def last_line(text: str | None) -> str:
    r"""The line of a traceback that says what happened.

    >>> last_line("Traceback ...\n  File x\nValueError: no\n")
    'ValueError: no'
    """
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
