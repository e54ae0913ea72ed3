"""`token`: who may come in to the server of this data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qcov.classical.engine.client import announcement
from qcov.cli.dispatches import AS_JSON, whole_id
from qcov.cli.output import fail, moment, note, say, say_json, say_table
from qcov.cli.retention import seconds_in
from qcov.config import data_dir

if TYPE_CHECKING:
    from qcov_server.tokens import Tokens

_app = typer.Typer(help="Who may come in to the server.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    for verb in (rotate, share, revoke):
        _app.command()(verb)
    _app.command("list")(list_shares)
    app.add_typer(_app, name="token")


def rotate(as_json: bool = AS_JSON) -> None:
    """Make a new token. The old one, every shared link and every browser's login end."""
    tokens = _tokens()
    ended = [one.label for one in tokens.shares()]
    tokens.rotate()
    path = data_dir() / "server.token"
    if as_json:
        say_json({"file": str(path), "ended": ended})
        return
    say(f"The new token is in {path}; `qcov start` prints a new link for your browser.")
    if ended:
        say(f"Nobody else may look any more; the links of these have ended: {', '.join(ended)}.")


def share(
    label: str = typer.Argument(help="Who it is for, so that you can take it back."),
    lifetime: str = typer.Option("7d", "--for", help="How long: 90s, 15m, 12h, 30d, 8w."),
    dispatch_id: str | None = typer.Option(
        None, "--dispatch", help="The only dispatch that can be seen, with its sublattices."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Make a link with which somebody may look at all dispatches, or one, and change nothing."""
    if not label.strip():
        fail("a label cannot be empty", code=2)
    seconds = seconds_in(lifetime, "--for")
    only = None if dispatch_id is None else whole_id(dispatch_id)
    page = "" if only is None else f"&to=/dispatches/{only}"
    address = (announcement(data_dir()) or {}).get("url")
    if any(one.label == label for one in _tokens().shares()):
        note(f"the earlier link of {label} has ended: this one takes its place")
    token = _tokens().share(label, lifetime=seconds, dispatch=only)
    path = f"/login?code={token}{page}"
    if as_json:
        say_json({"label": label, "token": token, "link": address and f"{address}{path}"})
    elif address:
        say(f"{address}{path}")
    else:
        say(f"No server runs; once `qcov start` has one, the link is its address and {path}")


def list_shares(as_json: bool = AS_JSON) -> None:
    """List who may look, and until when."""
    shares = _tokens().shares()
    if as_json:
        keys = ("label", "dispatch", "created", "expires")
        say_json([{key: getattr(one, key) for key in keys} for one in shares])
    elif shares:
        rows = [
            (one.label, one.dispatch or "all", moment(one.created), moment(one.expires))
            for one in shares
        ]
        say_table(("LABEL", "SEES", "MADE", "ENDS"), rows)
    else:
        say("Nobody else may look. `qcov token share LABEL` makes a link.")


def revoke(
    label: str = typer.Argument(help="Whose it is: `qcov token list`."), as_json: bool = AS_JSON
) -> None:
    """Take a link back: it, and the browsers that came in with it, see nothing more."""
    if not _tokens().revoke(label):
        fail(f"nobody may look under the label {label!r}; `qcov token list` has those that do")
    if as_json:
        say_json({"revoked": label})
    else:
        say(f"{label} sees nothing more.")


def _tokens() -> Tokens:
    from qcov.store.folder import prepare_folder
    from qcov_server.tokens import Tokens

    prepare_folder(data_dir())
    return Tokens(data_dir())
