"""`doctor`: whether all is well here, and what to do if not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from qcov.cli.dispatches import AS_JSON
from qcov.cli.output import say, say_json, say_table

if TYPE_CHECKING:
    from qcov.cli.checkup.finding import Finding

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}
_MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(doctor)


def doctor(
    ask: bool = typer.Option(False, "--online", help="Ask the providers too; costs nothing."),
    as_json: bool = AS_JSON,
) -> None:
    """Look whether all is well here; exits with 1 if something does not work. Changes nothing."""
    found = list(_findings(ask=ask))
    bad = any(each.level == "problem" for each in found)
    if as_json:
        say_json({"healthy": not bad, "findings": [asdict(each) for each in found]})
    else:
        _show(found)
    sys.exit(1 if bad else 0)


def _findings(*, ask: bool) -> Iterator[Finding]:
    from qcov.cli.checkup import clocks, machine, places, providers
    from qcov.cli.checkup.finding import findings

    checks = {
        "Python": machine.python,
        "packages": machine.packages,
        "settings": places.settings,
        "data folder": places.folder,
        "engine": places.engine,
        "database": places.database,
        "credentials": providers.in_settings,
        "providers": providers.online if ask else providers.at_home,
        "clock": clocks.clock,
        "limits": machine.limits,
    }
    for about, check in checks.items():
        yield from findings(about, check)


def _show(found: list[Finding]) -> None:
    rows = [
        (
            Text(_MARKS[each.level], style=_COLORS[each.level]),
            each.about,
            f"{each.said}\n{each.advice}" if each.advice else each.said,
        )
        for each in found
    ]
    say_table(("", "WHAT", "HOW IT IS"), rows)
    bad = sum(each.level == "problem" for each in found)
    doubtful = sum(each.level == "warning" for each in found)
    say(f"{len(found)} looked at, {_count(doubtful, 'warning')}, {_count(bad, 'problem')}.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
