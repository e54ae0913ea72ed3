"""`watch`: a dispatch as it goes on, in the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from qcov.classical.engine.client import call
from qcov.classical.status import Status
from qcov.cli.completing import unfinished_ids
from qcov.cli.dispatches import wake, whole_id
from qcov.cli.output import ID, brief, console, length, say, status_text
from qcov.errors import NodeNotFound
from qcov.headline import headline
from qcov.inert import inert

_LOOK_AGAIN = 0.5  # seconds, when nothing happens: times and output go on
_PACE = {True: 0.2, False: 0.5}  # seconds between two looks, on a terminal and elsewhere
_FAILED, _RUNNING, _LATEST = 4, 8, 6  # nodes that are shown
_PRINTING, _LINES = 3, 3  # electrons whose output is shown, and lines of each

Row = Mapping[str, Any]


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(watch)


def watch(
    dispatch_id: str = typer.Argument(help=ID, autocompletion=unfinished_ids),
    as_json: bool = typer.Option(False, "--json", help="As JSON, a line for each change."),
) -> None:
    """Watch a dispatch until it ends; exits with 0 if it completed, 1 if not. Ctrl-C leaves it."""
    wake()
    end_with(follow(whole_id(dispatch_id), as_json=as_json))


def end_with(status: Status) -> NoReturn:
    """End with the exit code that tells how a dispatch has ended."""
    sys.exit(0 if status is Status.COMPLETED else 1)


def follow(dispatch_id: str, *, as_json: bool = False) -> Status:
    """Show a dispatch until it ends: a live view on a terminal, lines elsewhere; its status."""
    output = console()
    if as_json:
        return _in_lines(dispatch_id, _line_of_json)
    if output.is_terminal:
        return _live(dispatch_id, output)
    return _in_lines(dispatch_id, _line)


# -- what is seen ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A dispatch at one moment."""

    dispatch: Row
    done: int
    total: int
    nodes: Sequence[Row]  #: those that are worth a look
    printed: Mapping[int, Sequence[str]]  #: the last lines of electrons that run
    circuits: Sequence[Row]


def _states(dispatch_id: str, pace: float) -> Iterator[Row]:
    """How far it is, again and again, until it has ended."""
    after = 0
    while True:
        began = time.monotonic()
        state = call("progress", dispatch_id=dispatch_id, after=after, timeout=_LOOK_AGAIN)
        after = state["seq"]
        yield state
        if Status.is_terminal(state["status"]):
            return
        time.sleep(max(0.0, began + pace - time.monotonic()))  # many things may happen at once


def _look(dispatch_id: str, state: Row) -> Seen:
    def some(limit: int, sort: str, *statuses: Status) -> list[Row]:
        asked = {"limit": limit, "sort": sort, "status": [each.value for each in statuses]}
        return call("some_nodes", dispatch_id=dispatch_id, kind="electron", **asked)

    running = some(_RUNNING, "started", Status.RUNNING, Status.CANCELING)
    failed = some(_FAILED, "ended", Status.FAILED)
    latest = some(_LATEST, "-ended", Status.COMPLETED, Status.CANCELLED)
    return Seen(
        dispatch=call("dispatch", dispatch_id=dispatch_id),
        done=state["done"],
        total=state["total"],
        nodes=[*failed, *reversed(latest), *running],
        printed=_printed(dispatch_id, running[:_PRINTING]),
        circuits=call("circuit_summary", dispatch_id=dispatch_id),
    )


def _printed(dispatch_id: str, running: Sequence[Row]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for node in running:
        try:
            streams = call("streams", dispatch_id=dispatch_id, node_id=node["node_id"])
        except NodeNotFound:
            continue
        lines = [*streams["stdout"].splitlines(), *streams["stderr"].splitlines()]
        if lines:
            found[node["node_id"]] = lines[-_LINES:]
    return found


# -- on a terminal -----------------------------------------------------------------------------


def _live(dispatch_id: str, output: Console) -> Status:
    status = Status.PENDING
    with Live(console=output, auto_refresh=False) as live:
        for state in _states(dispatch_id, _PACE[True]):
            live.update(drawn(_look(dispatch_id, state)), refresh=True)
            status = Status(state["status"])
    return status


def drawn(seen: Seen) -> RenderableType:
    """The view of a dispatch; text of the user's is inert."""
    row = seen.dispatch
    head = Text.assemble(
        (inert(brief(row["name"])), "bold"), f"  {row['id']}  ", status_text(row["status"])
    )
    parts: list[RenderableType] = [head, _bar(seen), *map(_circuits, seen.circuits)]
    if seen.nodes:
        parts.append(_table(seen.nodes))
    for node, lines in seen.printed.items():
        parts += [Text(f"[{node}] {inert(line)}", "dim", no_wrap=True) for line in lines]
    if row["result_repr"] is not None:
        parts.append(Text(f"result: {inert(row['result_repr'])}"))
    if row["error"]:
        parts.append(Text(inert(row["error"]), "red"))
    return Group(*parts)


def _bar(seen: Seen) -> Table:
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, seen.total), completed=seen.done, width=30)
    line.add_row(bar, f"{seen.done}/{seen.total} electrons", length(seen.dispatch))
    return line


def _circuits(row: Row) -> Text:
    seconds = f", {row['seconds']:.2f} s" if row["seconds"] is not None else ""
    where = f"{row['executor']}({row['device']})" if row["device"] else row["executor"]
    return Text(f"circuits on {inert(where)}: {row['circuits']}{seconds}")


def _table(nodes: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for node in nodes:
        error = headline(node["error"])
        value = Text(inert(error or node["value_repr"] or ""))
        took = "reused" if node["reused_from"] else length(node)
        name = Text(inert(brief(node["name"])))
        table.add_row(str(node["node_id"]), name, status_text(node["status"]), took, value)
    return table


# -- in lines ----------------------------------------------------------------------------------


def _in_lines(dispatch_id: str, line: Any) -> Status:
    """Print a line for each change, flushed: whoever reads them waits for them."""
    said, status = None, Status.PENDING
    for state in _states(dispatch_id, _PACE[False]):
        status = Status(state["status"])
        about = {"status": status.value, "done": state["done"], "total": state["total"]}
        if about != said:
            said = about
            ended: Row = call("dispatch", dispatch_id=dispatch_id) if status.terminal else {}
            say(line(about, ended))
            sys.stdout.flush()
    return status


def _line(about: Row, ended: Row) -> str:
    told = f"{about['status']}, {about['done']} of {about['total']} electrons"
    told += f", {length(ended)}" if ended else ""
    told += f"\nresult: {inert(ended['result_repr'])}" if ended.get("result_repr") else ""
    return told + (f"\n{inert(ended['error'])}" if ended.get("error") else "")


def _line_of_json(about: Row, ended: Row) -> str:
    more = {name: ended[name] for name in ("result_repr", "error")} if ended else {}
    return json.dumps({"time": time.time(), **about, **more})
