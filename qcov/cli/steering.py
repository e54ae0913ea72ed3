"""`cancel`, `redispatch`, `rm`: what is done to dispatches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from qcov.classical.engine.address import engine_at
from qcov.classical.engine.client import call
from qcov.cli.completing import ended_ids, known_ids, unfinished_ids
from qcov.cli.dispatches import AS_JSON, wake, whole_id
from qcov.cli.output import ID, fail, note, say, say_json
from qcov.errors import QcovError
from qcov.inert import inert


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    app.command()(cancel)
    app.command()(redispatch)
    app.command("rm")(remove)


def cancel(
    dispatch_id: str = typer.Argument(help=ID, autocompletion=unfinished_ids),
    node: list[int] = typer.Option(
        [], "--node", help="Only this node, by its number; several times."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Cancel a dispatch with its sublattices, or some of its nodes."""
    wake()
    whole = whole_id(dispatch_id)
    said = call("cancel", dispatch_id=whole, node_ids=node or None)
    if as_json:
        status = call("dispatch", dispatch_id=whole)["status"]
        say_json({"id": whole, "status": status, "nodes": node, "message": said})
    else:
        say(said)


def redispatch(
    dispatch_id: str = typer.Argument(help=ID, autocompletion=known_ids),
    reuse: bool = typer.Option(
        False, "--reuse", help="Take over what has been computed, and run the rest."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Run a dispatch once more with the same inputs, or start one that was only stored."""
    wake()
    whole = whole_id(dispatch_id)
    new = engine_at(None).rerun(whole, reuse=reuse)
    if as_json:
        say_json({"id": new, "from": whole})
    else:
        say(new)


def remove(
    dispatch_ids: list[str] = typer.Argument(
        metavar="ID...", help="Dispatches that have ended.", autocompletion=ended_ids
    ),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="As JSON; asks nothing."),
) -> None:
    """Remove dispatches that have ended, with their sublattices and results."""
    wake()
    whole = list(dict.fromkeys(map(whole_id, dispatch_ids)))
    if not (yes or as_json):
        _ask(whole)
    removed, refused = _removed(whole)
    if as_json:
        say_json({"removed": removed, "refused": refused})
    for each in () if as_json else removed:
        say(f"{each} is removed.")
    for reason in refused.values():
        note(reason)
    if refused:
        fail(f"{len(refused)} of {len(whole)} could not be removed")


def _ask(whole: Sequence[str]) -> None:
    rows = [call("dispatch", dispatch_id=each) for each in whole]
    for row in rows:
        say(f"{row['id']} {inert(row['name'])} {row['status']}")
    typer.confirm("Remove it for ever?" if len(rows) == 1 else "Remove them for ever?", abort=True)


def _removed(whole: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Those that could be removed, and why others could not."""
    removed, refused = list[str](), dict[str, Any]()
    for each in whole:
        try:
            call("delete", dispatch_id=each)
        except QcovError as error:
            refused[each] = str(error)
        else:
            removed.append(each)
    return removed, refused
