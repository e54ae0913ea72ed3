"""`export`: a dispatch as a research object."""

from __future__ import annotations

from pathlib import Path

import typer

from qcov.classical.engine.client import call
from qcov.cli.dispatches import AS_JSON, wake, whole_id
from qcov.cli.output import fail, say, say_json


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(export)


def export(
    dispatch_id: str = typer.Argument(help="The id of a dispatch, or how it begins."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="The file; by default the id with .crate.zip in this folder."
    ),
    force: bool = typer.Option(False, "--force", "-f", help="Write over a file that is there."),
    as_json: bool = AS_JSON,
) -> None:
    """Write a dispatch, with what it ran in and all that is known of it, as an RO-Crate."""
    wake()
    found = whole_id(dispatch_id)
    path = (out or Path(f"{found}.crate.zip")).expanduser().absolute()
    if path.is_dir():
        fail(f"{path} is a folder: give a file", code=2)
    if path.exists() and not force:
        fail(f"{path} is there already; --force writes over it")
    call("export", dispatch_id=found, path=str(path))
    if as_json:
        say_json({"dispatch_id": found, "path": str(path)})
    else:
        say(f"{path} has dispatch {found}.")
