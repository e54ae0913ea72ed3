"""How the command line speaks: lines, tables, JSON, errors."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qcov.inert import inert

ID = "The id of a dispatch, or how it begins."  # what help says of an argument
_LONGEST = 80  # characters of a name in a table
_COLORS = {
    "COMPLETED": "green",
    "RUNNING": "blue",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "CANCELING": "yellow",
    "ACTIVE": "green",
    "STOPPED": "yellow",
}


def say(line: str = "") -> None:
    """One line on standard output."""
    typer.echo(line)


def warn(line: str) -> None:
    """One line on standard error."""
    typer.secho(f"warning: {line}", err=True, fg="yellow")


def note(line: str) -> None:
    """One line on standard error that is no warning."""
    typer.secho(inert(line), err=True, fg="bright_black")


def fail(line: str, *, code: int = 1) -> NoReturn:
    """Say what went wrong on standard error, and end."""
    typer.secho(f"error: {inert(line)}", err=True, fg="red")
    sys.exit(code)


def end_interrupted() -> NoReturn:
    """End after Ctrl-C."""
    typer.echo("Interrupted. What was dispatched goes on: `qcov ls` lists it.", err=True)
    sys.exit(130)


def end_where_nobody_reads(output: TextIO | None) -> None:
    """End with 141, as a shell tells SIGPIPE, once whoever reads the output has had enough.

    Typer, click and rich each make something else of it. The signal itself stays off: it would also
    end the program when an engine hangs up.
    """
    if output is None:  # whoever started us has closed it
        return

    def heeding(act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*arguments: Any) -> Any:
            try:
                return act(*arguments)
            except BrokenPipeError:
                # Python would complain again when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
                sys.exit(141)

        return acted

    for name in ("write", "flush"):
        setattr(output, name, heeding(getattr(output, name)))


def say_json(value: object) -> None:
    """A value as JSON."""
    typer.echo(json.dumps(value, indent=2, default=str))


def plain(value: Any) -> Any:
    """A value as JSON can have it: arrays as lists, an exception as what it says."""
    if isinstance(value, BaseException):
        return {"error": str(value)}
    if isinstance(value, tuple | list):
        return [plain(one) for one in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in cast("Mapping[Any, Any]", value).items()}
    return value.tolist() if hasattr(value, "tolist") else value


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """A table; numbers of the last columns stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        name = column.rstrip(">")
        right = column.endswith(">")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(inert(cell)) for cell in row))
    console().print(table)


def brief(text: str) -> str:
    """A name as it fits into a table.

    >>> len(brief("x" * 5000))
    80
    """
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def console() -> Console:
    """Standard output; as wide as it needs to be where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=False)


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=_COLORS.get(status, ""))


def length(row: Mapping[str, Any]) -> str:
    """How long something took, or takes until now."""
    if row["started"] is None:
        return "-"
    seconds = (row["ended"] or time.time()) - row["started"]
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"
    )


def moment(seconds: float | None) -> str:
    """A moment in local time, with its distance from UTC.

    >>> moment(None)
    '-'
    """
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")
