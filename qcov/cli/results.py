"""`result`: what a dispatch has returned."""

from __future__ import annotations

import typer

from qcov.cli.completing import known_ids
from qcov.cli.dispatches import AS_JSON, wake, whole_id
from qcov.cli.output import ID, fail, note, plain, say, say_json
from qcov.errors import TransportError
from qcov.inert import inert


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(result)


def result(
    dispatch_id: str = typer.Argument(help=ID, autocompletion=known_ids),
    wait: bool = typer.Option(False, "--wait", "-w", help="Wait until it has ended."),
    as_json: bool = AS_JSON,
) -> None:
    """Print what a dispatch has returned; its value is loaded in this process."""
    wake()
    tell_result(whole_id(dispatch_id), wait=wait, as_json=as_json)


def tell_result(dispatch_id: str, *, wait: bool, as_json: bool) -> None:
    """Print it; an error, and exit code 1, if there is none."""
    from qcov.classical.dispatch import get_result  # it may take a while to import
    from qcov.classical.status import Status

    found = get_result(dispatch_id, wait=wait)
    completed = found.status is Status.COMPLETED
    shown = str(found.encoded_result.object_string) if completed and found.encoded_result else None
    try:
        value = found.result if completed else None
    except TransportError as error:
        note(f"note: only its text is at hand: {error}")
        value = shown
    else:
        shown = repr(value) if completed else None
    if as_json:
        told = {"id": dispatch_id, "status": found.status.value, "result": plain(value)}
        say_json({**told, "result_repr": shown, "error": found.error})
    elif completed:
        say(inert(str(shown)))
    if not completed:
        advice = "" if found.status.terminal else "; --wait waits for its end"
        fail(f"dispatch {dispatch_id} is {found.status}{advice or _reason(found.error)}")


def _reason(error: str | None) -> str:
    return f": {error}" if error else ""
