"""`triggers`: what runs dispatches when something happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from qcov.classical.engine.client import call
from qcov.cli.dispatches import AS_JSON, wake, whole_id
from qcov.cli.output import fail, moment, say, say_json, say_table, status_text
from qcov.headline import headline

_STATUSES = ("ACTIVE", "STOPPED", "FAILED")
_COLUMNS = ("id", "name", "dispatch_id", "status", "error", "created", "runs", "last_run")


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(triggers)


def triggers(
    dispatch_id: str | None = typer.Argument(None, help="Only those of this dispatch."),
    limit: int = typer.Option(20, "--limit", "-l", min=1, max=1000, help="How many, at most."),
    status: str | None = typer.Option(
        None, "--status", "-s", help="Only those that are ACTIVE, STOPPED or FAILED."
    ),
    stop: bool = typer.Option(False, "--stop", help="Stop those of this dispatch."),
    as_json: bool = AS_JSON,
) -> None:
    """List triggers, newest first, or stop those of a dispatch."""
    if status is not None and (status := status.upper()) not in _STATUSES:
        fail(f"--status: {status!r} is no status; there are {', '.join(_STATUSES)}", code=2)
    if stop and dispatch_id is None:
        fail("--stop: say whose triggers are to end: `qcov triggers ID --stop`", code=2)
    wake()
    whose = None if dispatch_id is None else whole_id(dispatch_id)
    if stop:
        call("stop_triggers", dispatch_ids=[whose])
    found = call("triggers", limit=limit, status=status, dispatch_id=whose)
    rows: list[Mapping[str, Any]] = found["triggers"]
    if as_json:
        say_json([{name: row[name] for name in _COLUMNS} for row in rows])
    elif rows:
        _show(rows)
        if found["total"] > len(rows):
            say(f"{len(rows)} of {found['total']}; --limit shows more.")
    else:
        say("No trigger matches." if status or whose else "No trigger has been registered.")


def _show(rows: list[Mapping[str, Any]]) -> None:
    columns = ("DISPATCH", "TRIGGER", "STATUS", "CREATED", "LAST RUN", "RUNS>", "LAST ERROR")
    say_table(columns, [*map(_line, rows)])


def _line(row: Mapping[str, Any]) -> tuple[Any, ...]:
    error = headline(row["error"])
    times = moment(row["created"]), moment(row["last_run"])
    status = status_text(row["status"])
    return row["dispatch_id"], row["name"], status, *times, str(row["runs"]), error
