"""Values as a person reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from qcov.budget import unit_text

#: What each status is called on a page, and the symbol beside it; colour is never alone.
_STATUSES = {
    "NEW_OBJECT": ("Waiting", "waiting"),
    "PENDING": ("Pending", "waiting"),
    "RUNNING": ("Running", "running"),
    "COMPLETED": ("Completed", "completed"),
    "FAILED": ("Failed", "failed"),
    "CANCELING": ("Canceling", "cancelled"),
    "CANCELLED": ("Cancelled", "cancelled"),
    "NOT_RUN": ("Not run", "not-run"),
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


def money(amounts: Mapping[str, Any] | None) -> str:
    """What something cost, in each unit.

    >>> money({"USD": 0.3, "QPU seconds": 12.5, "shots": 1000, "tasks": 2.0}), money(None)
    ('$0.30 · 12.5 QPU seconds · 1,000 shots · 2 tasks', '-')
    >>> money({"tasks": 1.0})
    '1 task'
    """
    return " · ".join(_amount(unit, amount) for unit, amount in (amounts or {}).items()) or "-"


def _amount(unit: str, amount: Any) -> str:
    if not isinstance(amount, int | float):
        return f"{amount} {unit}"
    if unit == "USD":
        return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.5f}"
    told = f"{amount:,.6g}" if amount < 1e6 else f"{amount:,.0f}"
    return f"{told} {unit_text(unit, amount)}"


#: What is noted of where a dispatch runs, and what that is called; first what people look for.
_ENVIRONMENT = {
    "python": "Python",
    "qcov": "qcov",
    "platform": "Platform",
    "host": "Host",
    "cores": "Cores",
    "folder": "Folder",
    "cwd": "Folder",
    "program": "Program",
    "commit": "Git commit",
    "executable": "Interpreter",
    "packages": "Packages",
    "sys_path": "Search path",
    "preload": "Loaded before",
}


def environment(
    manifest: Mapping[str, Any], noted: Mapping[str, Any] | None = None
) -> list[tuple[str, list[str]]]:
    """What is known of where a dispatch runs: names, and lines of text.

    Args:
        manifest: Its manifest.
        noted: What the engine has noted; dispatches of earlier versions have nothing but the
            manifest.

    >>> environment({"environment": {"python": "3.12"}, "packages": ["scipy"]})
    [('Python', ['3.12']), ('Packages asked for', ['scipy'])]
    >>> environment({}, {"python": "3.12.4", "packages": {"numpy": "2.1"}})
    [('Python', ['3.12.4']), ('Packages', ['numpy 2.1'])]
    """
    given: Mapping[str, Any] = noted or manifest.get("environment") or {}
    rows = [(label, _lines(given.get(name))) for name, label in _ENVIRONMENT.items()]
    rows += [(name, _lines(text)) for name, text in given.items() if name not in _ENVIRONMENT]
    rows.append(("Packages asked for", _lines(manifest.get("packages"))))
    return [(label, lines) for label, lines in rows if lines]


def _lines(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return [f"{name} {text or ''}".strip() for name, text in pairs]
    if isinstance(value, list | tuple):
        return [str(item) for item in cast("Sequence[Any]", value)]
    return [str(value)]
