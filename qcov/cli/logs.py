"""`logs`: what the engine and its server have written about themselves."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import typer

from qcov.cli.output import console, fail, moment, say
from qcov.config import get_config
from qcov.inert import inert
from qcov.logs import LEVELS, Line, chosen, follow, last_lines

_COLORS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(logs)


def logs(
    number: int = typer.Option(50, "-n", "--lines", min=0, help="How many of the last lines."),
    on: bool = typer.Option(False, "-f", "--follow", help="Go on with what is written next."),
    level: str = typer.Option("debug", "--level", help="At least: debug, info, warning, error."),
    dispatch: str = typer.Option("", "--dispatch", help="Only about this dispatch."),
    as_json: bool = typer.Option(False, "--json", help="As JSON, a line each."),
) -> None:
    """Show the engine's log; it may be stopped. `sdk.log_level` says what is written there."""
    if (level := level.lower()) not in LEVELS:
        fail(f"--level: {level!r} is none of {', '.join(LEVELS)}", code=2)
    folder = Path(get_config("dispatcher.log_dir"))
    wanted = chosen(level=level, dispatch=dispatch)
    show = _say_json if as_json else _say
    following = follow(folder) if on else None
    for line in last_lines(folder, number, wanted) if number else ():
        show(line)
    with contextlib.suppress(KeyboardInterrupt):
        for line in filter(wanted, following or ()):
            show(line)
            sys.stdout.flush()


def _say_json(line: Line) -> None:
    say(json.dumps(line))


def _say(line: Line) -> None:
    colour = _COLORS.get(str(line["level"])) if console().is_terminal else None
    whose = f" [{str(line['dispatch'])[:8]}" if line.get("dispatch") else ""
    whose += f" node {line['node']}" if line.get("node") is not None else ""
    level = typer.style(f"{line['level']:<8}", fg=colour)
    head = f"{moment(line['time'])} {level} {line.get('logger', '')}"
    say(f"{head}{whose}{']' if whose else ''}: {inert(str(line['message']))}")
    if line.get("error"):
        say(inert(str(line["error"])))
