"""Which triggers an engine has, and what has become of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from qcov.classical.engine.address import engine_at
from qcov.errors import WrongSetting

_MOST = 1000  # triggers in one list
_STATUSES = ("ACTIVE", "STOPPED", "FAILED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A trigger as its engine keeps it. Times are UTC."""

    id: str
    name: str  #: of its class
    dispatch_id: str  #: what it runs
    status: str  #: ACTIVE while it watches, STOPPED, or FAILED
    error: str | None  #: what went wrong last, if anything did
    created: datetime
    runs: int  #: how many dispatches it has started, removed ones left out
    last_run: datetime | None


def list_triggers(
    limit: int = 100,
    *,
    status: str | None = None,
    dispatch_id: str | None = None,
    triggers_server_addr: str | None = None,
) -> list[Registration]:
    """The triggers that were registered last, newest first, as they stand.

    Args:
        limit: How many, at most 1000.
        status: Only those that watch ("ACTIVE"), were stopped ("STOPPED") or have ended by
            themselves ("FAILED").
        dispatch_id: Only those of this dispatch.
        triggers_server_addr: The address of the server that watches; by default the engine of this
            user's data folder.

    Raises:
        WrongSetting: `limit`, `status` or `dispatch_id` cannot be.
    """
    if type(limit) is not int or not 0 < limit <= _MOST:
        expected = f"a whole number from 1 to {_MOST}"
        raise WrongSetting(setting="limit", got=repr(limit), expected=expected)
    if status is not None and str(status).upper() not in _STATUSES:
        expected = f"one of {', '.join(_STATUSES)}"
        raise WrongSetting(setting="status", got=repr(status), expected=expected)
    if dispatch_id is not None and not isinstance(cast("object", dispatch_id), str):
        raise WrongSetting(setting="dispatch_id", got=repr(dispatch_id), expected="an id")
    wanted = None if status is None else status.upper()
    found = engine_at(triggers_server_addr).call(
        "triggers", limit=limit, status=wanted, dispatch_id=dispatch_id
    )
    return [_registration(row) for row in found["triggers"]]


def _registration(row: dict[str, Any]) -> Registration:
    names = ("id", "name", "dispatch_id", "status", "error", "runs")
    last = row["last_run"]
    return Registration(
        **{name: row[name] for name in names},
        created=datetime.fromtimestamp(row["created"], UTC),
        last_run=None if last is None else datetime.fromtimestamp(last, UTC),
    )
