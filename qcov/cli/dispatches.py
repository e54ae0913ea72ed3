"""`ls` and `show`: what has been dispatched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from qcov.classical.engine.client import announcement, call, connect
from qcov.classical.status import Status, node_status
from qcov.cli.completing import known_ids, statuses
from qcov.cli.output import (
    ID,
    brief,
    fail,
    length,
    moment,
    note,
    say,
    say_json,
    say_table,
    status_text,
)
from qcov.config import data_dir
from qcov.errors import DispatchNotFound, EngineUnavailable
from qcov.headline import headline
from qcov.inert import inert

_ID_LENGTH = 36
_COLUMNS = ("id", "name", "status", "nodes_done", "nodes_total", "created", "started", "ended")
_MORE = (*_COLUMNS, "parent_id", "error", "result_repr")
_NODE = (
    "node_id", "name", "kind", "status", "executor", "attempt", "started", "ended", "error",
    "value_repr", "stdout", "stderr", "sub_dispatch_id", "reused_from",
)  # fmt: skip

AS_JSON = typer.Option(False, "--json", help="As JSON.")


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    app.command("ls")(list_dispatches)
    app.command()(show)


def list_dispatches(
    limit: int = typer.Option(20, "--limit", "-l", min=1, max=1000, help="How many, at most."),
    status: str | None = typer.Option(
        None, "--status", "-s", help="Only those with this status.", autocompletion=statuses
    ),
    search: str | None = typer.Option(None, "--search", help="By name, or by the start of the id."),
    as_json: bool = AS_JSON,
) -> None:
    """List dispatches, newest first."""
    if status is not None and (status := status.upper()) not in Status.__members__:
        known = ", ".join(Status)
        fail(f"--status: {status!r} is not a status; there are {known}", code=2)
    wake()
    found = call("dispatches", limit=limit, status=status, search=search, root_only=not search)
    rows: list[Mapping[str, Any]] = found["dispatches"]
    if as_json:
        say_json([_only(row, _COLUMNS) for row in rows])
    elif rows:
        say_table(("ID", "NAME", "STATUS", "NODES>", "CREATED", "DURATION>"), [*map(_line, rows)])
        if found["total"] > len(rows):
            say(f"{len(rows)} of {found['total']}; --limit shows more.")
    elif status or search:
        say("No dispatch matches.")
    else:
        say("Nothing has been dispatched yet. `qcov demo` is a good beginning.")


def show(
    dispatch_id: str = typer.Argument(help=ID, autocompletion=known_ids),
    as_json: bool = AS_JSON,
) -> None:
    """Show one dispatch and its nodes."""
    wake()
    dispatch = call("dispatch", dispatch_id=whole_id(dispatch_id))
    nodes: list[Mapping[str, Any]] = call("nodes", dispatch_id=dispatch["id"])
    circuits: list[Mapping[str, Any]] = call("circuit_summary", dispatch_id=dispatch["id"])
    if as_json:
        shown = [_only(node, _NODE) for node in nodes]
        say_json({**_only(dispatch, _MORE), "nodes": shown, "circuits": circuits})
    else:
        _show(dispatch, nodes, circuits)


def _show(
    dispatch: Mapping[str, Any], nodes: list[Mapping[str, Any]], circuits: list[Mapping[str, Any]]
) -> None:
    say(f"{inert(dispatch['name'])}  {dispatch['id']}")
    say(f"{dispatch['status']}, created {moment(dispatch['created'])}, took {length(dispatch)}")
    if dispatch["result_repr"] is not None:
        say(f"result: {inert(dispatch['result_repr'])}")
    for row in circuits:
        seconds = f", {row['seconds']:.2f} s" if row["seconds"] is not None else ""
        where = f"{row['executor']}({row['device']})" if row["device"] else row["executor"]
        say(f"circuits on {inert(where)}: {row['circuits']}{seconds}")
    say()
    say_table(
        ("#>", "NAME", "KIND", "STATUS", "DURATION>", "VALUE"),
        [node_line(node, dispatch["status"]) for node in nodes],
    )
    if dispatch["error"]:
        say(f"\n{inert(dispatch['error'])}")


def _line(row: Mapping[str, Any]) -> tuple[Any, ...]:
    done = f"{row['nodes_done']}/{row['nodes_total']}"
    created = moment(row["created"])
    return row["id"], brief(row["name"]), status_text(row["status"]), done, created, length(row)


def node_line(node: Mapping[str, Any], dispatch_status: str) -> tuple[Any, ...]:
    """A node as a row of the table."""
    error = headline(node["error"])
    value = error or node["value_repr"] or ""
    status = node_status(node["status"], dispatch_status)
    return (
        str(node["node_id"]), brief(node["name"]), node["kind"], status_text(status),
        "reused" if node["reused_from"] else length(node), value,
    )  # fmt: skip


def wake() -> None:
    """Say so if an engine has to be started to answer."""
    try:
        connect(start=False).close()
    except EngineUnavailable:
        if announcement(data_dir()) is None:
            note("note: no engine runs, so one is started to answer")
        else:
            note(
                "note: the engine has crashed; it is started again, and what had not ended goes on"
            )


def whole_id(beginning: str) -> str:
    """The id that begins so; an error if none or several do."""
    if not beginning:
        fail("an id cannot be empty", code=2)
    if len(beginning) >= _ID_LENGTH:
        return beginning
    found = call("dispatches", limit=100, search=beginning, root_only=False)["dispatches"]
    ids = [row["id"] for row in found if row["id"].startswith(beginning)]
    if len(ids) > 1:
        fail(f"{beginning!r} is the beginning of several ids: {', '.join(ids[:3])}, ...")
    if not ids:
        raise DispatchNotFound(dispatch_id=beginning, where="this data folder")
    return str(ids[0])


def _only(row: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: row[key] for key in keys}
