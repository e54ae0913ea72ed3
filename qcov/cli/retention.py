"""`prune`: what is kept, and for how long."""

from __future__ import annotations

import re
import time
from typing import Any

import typer

from qcov.classical.engine.client import call
from qcov.classical.status import Status
from qcov.cli.output import fail, say, say_json, warn
from qcov.journal import Journal

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NAMED = 10  # damaged dispatches, in a warning
_ENDED = tuple(status.value for status in Status if status.terminal)


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    app.command()(prune)


def prune(
    older_than: str = typer.Option(
        "30d", "--older-than", "-o", help="How long ago they ended: 90s, 15m, 12h, 30d, 8w."
    ),
    status: list[str] = typer.Option(
        [], "--status", "-s", help="Only those that ended so; may be given several times."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be removed."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="As JSON; asks nothing."),
) -> None:
    """Remove dispatches that ended long ago, with their results; what triggers run stays."""
    statuses = [each.upper() for each in status] or list(_ENDED)
    for each in statuses:
        if each not in _ENDED:
            fail(f"--status: {each!r} is not how a dispatch ends; {', '.join(_ENDED)} are", code=2)
    before = time.time() - seconds_in(older_than, "--older-than")
    asked: dict[str, Any] = {"ended_before": before, "statuses": statuses}
    found = call("prune", **asked, dry_run=True)["dispatches"]
    if dry_run:
        return say_json({"dispatches": found}) if as_json else say(f"{_counted(found)} would go.")
    if found and not (yes or as_json):
        typer.confirm(f"Remove {_counted(found)} for ever?", abort=True)
    removed = call("prune", **asked)
    journal = Journal()
    runs = journal.forget_circuits(before) if journal.path.exists() else 0
    if removed["damaged"]:
        warn(_told_of(removed["damaged"]))
    if as_json:
        return say_json({**removed, "circuits_of_jobs": runs})
    freed = f"{removed['blobs']} payloads, {removed['bytes'] / 1e6:.1f} MB"
    if removed["environments"]:
        freed += f"; environments for packages: {removed['environments']}"
    if runs:
        freed += f"; circuits that ran as jobs together: {runs}"
    return say(f"{_counted(removed['dispatches'])} removed; {freed}.")


def _counted(number: int) -> str:
    return "1 dispatch" if number == 1 else f"{number} dispatches"


def _told_of(damaged: list[str]) -> str:
    some = ", ".join(damaged[:_NAMED]) + (", ..." if len(damaged) > _NAMED else "")
    return (
        f"{_counted(len(damaged))} cannot be read, and may need any payload, so no payload was "
        f"removed: {some}. Restore the data folder from a copy; or end what has not ended with "
        "qcov.cancel, and remove it with a smaller --older-than."
    )


def seconds_in(text: str, option: str) -> float:
    """A length of time that an option was given, in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if found is None:
        fail(f"{option}: {text!r} is no length of time; write 90s, 15m, 12h, 30d or 8w", code=2)
    return float(found[1]) * _UNITS[found[2]]
