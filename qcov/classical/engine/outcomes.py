"""From what a worker reports to rows of the store. Pure: values in, values out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.classical.status import Status
from qcov.headline import FAILED, has_traceback, headline
from qcov.store import circuits
from qcov.store.changes import Changes

#: Seals a digest for a place.
Seal = Callable[..., str]

_EMPTY: dict[str, Any] = {
    "new_started": None,
    "new_ended": None,
    "new_error": None,
    "new_output": None,
    "new_output_seal": None,
    "new_output_key": None,
    "new_value_repr": None,
    "new_stdout": None,
    "new_stderr": None,
    "new_reused_from": None,
}


_SHOWN = 64  # characters of an executor's name, for which the table has room


def add(changes: Changes, statement: str, *rows: Mapping[str, Any]) -> None:
    """Append rows to a statement's."""
    changes.setdefault(statement, []).extend(rows)


def node_rows(dispatch_id: str, manifest: Message, seal: Seal) -> list[Message]:
    """The rows of a new dispatch's nodes; constants are complete from the start."""
    executors = [executor["type"][:_SHOWN] for executor in manifest["executors"]]
    return [
        {
            "dispatch_id": dispatch_id,
            "node_id": node["id"],
            "name": node["name"],
            "kind": node["kind"],
            "status": "COMPLETED" if node["kind"] == "parameter" else "NEW_OBJECT",
            "executor": executors[node["executor"]] if "executor" in node else None,
            "attempt": 1,
            "value_repr": node.get("text"),
            "output": node.get("value"),
            "output_seal": seal(node["value"], dispatch_id, node["id"])
            if "value" in node
            else None,
        }
        for node in manifest["nodes"]
    ]


def key_of(dispatch_id: str, node: int, attempt: int) -> Message:
    """Which row a node's update is about."""
    return {"of_dispatch": dispatch_id, "of_node": node, "of_attempt": attempt}


def finished(status: Status, report: Message, seal: Seal, place: tuple[str, int]) -> Message:
    """What an outcome says of a node, as new values of its columns."""
    digest = report.get("output")
    return _EMPTY | {
        "new_status": status.value,
        "new_started": report.get("started"),
        "new_ended": report.get("ended"),
        "new_error": report.get("error"),
        "new_output": digest,
        "new_output_seal": None if digest is None else seal(digest, *place),
        "new_output_key": report.get("key"),
        "new_value_repr": report.get("repr"),
        "new_stdout": report.get("stdout"),
        "new_stderr": report.get("stderr"),
    }


def kept(key: str, report: Message, seal: Seal, dispatch_id: str) -> Message:
    """The row of a value that is kept for electrons with the same key."""
    digest = report["output"]
    return {
        "key": key,
        "output": digest,
        "output_seal": seal(digest, "memo", key, dispatch_id, report.get("key")),
        "output_key": report.get("key"),
        "value_repr": report.get("repr"),
        "dispatch_id": dispatch_id,
        "created": now(),
    }


def retried(report: Message) -> Message:
    """What is kept of an attempt that is followed by another one."""
    error = f"{report.get('stderr') or ''}{report.get('error') or ''}\n"
    return {
        "new_stdout": report.get("stdout"),
        "new_stderr": f"{error}[the attempt above failed; it is tried again]\n",
    }


def tried(dispatch_id: str, node: int, attempt: int, report: Message) -> Message:
    """The row of an attempt that is followed by another one."""
    return {
        "dispatch_id": dispatch_id,
        "node_id": node,
        "attempt": attempt,
        "started": report.get("started"),
        "ended": report.get("ended"),
        "error": report.get("error"),
    }


def blob_row(report: Message) -> Message:
    """The row of an outcome's payload; a large one was written to its file by the worker."""
    return {"digest": report["output"], "size": report["size"], "data": report["data"]}


def circuit_rows(changes: Changes, dispatch_id: str, node_id: int, records: list[Message]) -> None:
    """Add the rows of circuits that an electron has run."""
    for record in records:
        if record["structure_data"] is not None:
            row = {"key": record["structure"], "text": record["structure_data"]}
            add(changes, "structure", row)
        add(changes, "circuit", circuits.to_row(record, dispatch_id, node_id))


def given_up(
    dispatch_id: str, nodes: Iterable[Mapping[str, Any]], status: Status, error: str | None
) -> Changes:
    """The rows of a dispatch that ends because nobody can run it, and of its nodes.

    Args:
        dispatch_id: The dispatch.
        nodes: Its nodes' rows.
        status: As what it ends.
        error: Why.
    """
    row = {
        "of_dispatch": dispatch_id,
        "new_status": status.value,
        "new_ended": now(),
        "new_error": error,
        "new_result": None,
        "new_result_seal": None,
        "new_result_repr": None,
    }
    changes: Changes = {"dispatch_ended": [row]}
    for node in nodes:
        if not Status(node["status"]).terminal:
            key = key_of(dispatch_id, node["node_id"], node["attempt"])
            add(changes, "node_status", key | {"new_status": "CANCELLED"})
    return changes


def told(error: Exception) -> str:
    """An error as it is stored."""
    return f"{type(error).__name__}: {error}"


def dispatch_error(failures: Iterable[tuple[int, str, str]]) -> str:
    """Say which nodes failed and why, a line each: number, name, error."""
    lines = [f"{name}({number}): {brief(error)}" for number, name, error in failures]
    return "\n".join([FAILED, *lines])


#: How a note begins that says where an error has happened; see `prepared.told_of`.
_PLACE = "This happened in "


def brief(error: str) -> str:
    """An error without its traceback: the line that names it; all of one that has no traceback."""
    lines = error.strip().splitlines() or ["no reason was given"]
    if not has_traceback(error):
        return "\n  ".join(lines)
    places = [line for line in lines if line.startswith(_PLACE)]
    return headline(error) + (f" ({places[-1]})" if places else "")


def now() -> float:
    """The time of day in seconds since the epoch."""
    return time.time()
