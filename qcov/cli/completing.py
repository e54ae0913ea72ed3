"""What a shell completes: ids of dispatches, statuses, names of settings.

Completing starts no engine and waits for none for long: without one there are no ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qcov.classical.engine.client import connect
from qcov.classical.status import Status
from qcov.errors import QcovError
from qcov.inert import inert
from qcov.settings import SETTINGS

_WITHIN = 1.0  # seconds
_MOST = 50
_ENDED = tuple(status.value for status in Status if status.terminal)
_UNFINISHED = tuple(status.value for status in Status if not status.terminal)


def known_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest dispatches whose ids begin so."""
    return _ids(incomplete, None)


def ended_ids(incomplete: str) -> list[tuple[str, str]]:
    """Those of them that have ended."""
    return _ids(incomplete, _ENDED)


def unfinished_ids(incomplete: str) -> list[tuple[str, str]]:
    """Those of them that have not ended."""
    return _ids(incomplete, _UNFINISHED)


def statuses(incomplete: str) -> list[str]:
    """Statuses of dispatches that begin so."""
    return [name.value for name in Status if name.value.startswith(incomplete)]


def settings(incomplete: str) -> list[str]:
    """Keys of settings that begin so."""
    return [key for key in SETTINGS if key.startswith(incomplete)]


def _ids(incomplete: str, wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    asked: dict[str, Any] = {"search": incomplete, "root_only": False} if incomplete else {}
    try:
        client = connect(start=False, within=_WITHIN)
        client.ping(_WITHIN)
        found = client.call("dispatches", limit=_MOST, status=wanted, **{"root_only": True} | asked)
        client.close()
    except QcovError:
        return []
    return [
        (row["id"], inert(f"{row['name']} {row['status']}"))
        for row in found["dispatches"]
        if row["id"].startswith(incomplete)
    ]
