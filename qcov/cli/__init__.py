"""The `qcov` command.

One Typer application; a module for each group of verbs. What an error says is one line on standard
error, and the exit code is 1; a command that was written wrongly exits with 2, one that was
interrupted with 130.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

import qcov
from qcov.cli import (
    bench,
    cluster,
    config,
    database,
    demo,
    dispatches,
    doctor,
    executors,
    export,
    fakeqpu,
    jobs,
    logs,
    purging,
    results,
    retention,
    running,
    server,
    steering,
    tokens,
    triggers,
    watching,
)
from qcov.cli.output import end_interrupted, end_where_nobody_reads, fail
from qcov.errors import QcovError


class _Verbs(TyperGroup):
    """The verbs; Ctrl-C in any of them ends quietly."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            end_interrupted()


app = typer.Typer(
    name="qcov",
    cls=_Verbs,
    help="Run hybrid quantum-classical programs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qcov {qcov.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(
        False, "--version", "-v", help="Show the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Run hybrid quantum-classical programs."""


server.add_to(app)
dispatches.add_to(app)
watching.add_to(app)
results.add_to(app)
running.add_to(app)
steering.add_to(app)
triggers.add_to(app)
demo.add_to(app)
bench.add_to(app)
config.add_to(app)
executors.add_to(app)
cluster.add_to(app)
jobs.add_to(app)
logs.add_to(app)
fakeqpu.add_to(app)
retention.add_to(app)
export.add_to(app)
database.add_to(app)
purging.add_to(app)
doctor.add_to(app)
tokens.add_to(app)


def main() -> None:
    """Run the command line."""
    end_where_nobody_reads(sys.stdout)
    try:
        app()
    except QcovError as error:
        fail(str(error))
