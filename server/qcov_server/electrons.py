"""All that is known of one node: its row, and what the graph says of it."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from qcov.classical.graph import AFTER
from qcov.errors import NodeNotFound
from qcov.settings import with_secrets_hidden
from qcov_server.engine import Row, Store

_MOST_INPUTS = 200  #: that are shown
_TOLD_ELSEWHERE = ("retries", "time_limit")
_LONGEST_SOURCE = 200_000  #: characters that are looked at for the names of arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where one of an electron's arguments comes from."""

    argument: str
    node: Row  #: the row of the node that it comes from


@dataclass(frozen=True, slots=True, kw_only=True)
class Electron:
    """One node.

    Args:
        row: Its row in the store.
        attempts: The tries that failed before the latest one.
        described: What the graph says of it.
        source: The code of its function, if it has one.
        settings: Those of its executor; what may be a secret is hidden.
        packages: What is installed for it.
        steps: What is called before and after it.
        inputs: Its arguments, in order.
        inputs_left_out: How many more there are.
        size: Of its output, in bytes.
        previous: The node before it that is no constant.
        next: The one after it.
    """

    row: Row
    attempts: Sequence[Row]
    described: Row
    source: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    packages: Sequence[str] = ()
    steps: Sequence[Mapping[str, str]] = ()
    inputs: Sequence[Input] = ()
    inputs_left_out: int = 0
    size: int | None = None
    previous: int | None = None
    next: int | None = None


def electron(store: Store, dispatch_id: str, node_id: int) -> Electron:
    """Read one node. Raises `DispatchNotFound` and `NodeNotFound`."""
    rows = store.get_nodes(dispatch_id, node_id=node_id)
    if not rows:
        store.get_dispatch(dispatch_id)
        raise NodeNotFound(dispatch_id=dispatch_id, node_id=node_id)
    manifest = store.manifest(dispatch_id)
    described, row = manifest["nodes"][node_id], rows[0]
    source = _of(manifest, "functions", described.get("function")).get("source")
    sources = _sources(manifest["edges"], node_id)
    preparation = _of(manifest, "preparations", described.get("preparation"))
    return Electron(
        row=row,
        attempts=store.get_attempts(dispatch_id, node_id),
        described={"retries": 0, "retry_delay": 0.0, "time_limit": None, **described},
        source=source,
        settings=settings(_of(manifest, "executors", described.get("executor"))),
        packages=preparation.get("packages", ()),
        steps=_steps(preparation),
        inputs=_inputs(store, dispatch_id, sources[:_MOST_INPUTS], source),
        inputs_left_out=max(0, len(sources) - _MOST_INPUTS),
        size=None if row["output"] is None else store.blob_size(row["output"]),
        previous=_neighbour(manifest["nodes"], reversed(range(node_id))),
        next=_neighbour(manifest["nodes"], range(node_id + 1, len(manifest["nodes"]))),
    )


def _of(manifest: Row, name: str, index: int | None) -> Row:
    return {} if index is None else manifest[name][index]


def _neighbour(nodes: Sequence[Row], numbers: Iterable[int]) -> int | None:
    return next((number for number in numbers if nodes[number]["kind"] != "parameter"), None)


# -- arguments ---------------------------------------------------------------------------------


def _sources(edges: Iterable[Sequence[Any]], node_id: int) -> list[tuple[int, str]]:
    return [(int(source), str(label)) for source, target, label in edges if target == node_id]


def _inputs(
    store: Store, dispatch_id: str, sources: Sequence[tuple[int, str]], code: str | None
) -> list[Input]:
    rows = {
        row["node_id"]: row
        for row in store.some_nodes(dispatch_id, {number for number, _ in sources})
    }
    names = argument_names(code or "")
    return [
        Input(argument=_argument(label, names), node=rows[number])
        for number, label in sources
        if number in rows
    ]


def _argument(label: str, names: Sequence[str]) -> str:
    if label == AFTER:
        return "waits for"
    if label.startswith("arg[") and label[4:-1].isdigit():
        place = int(label[4:-1])
        return names[place] if place < len(names) else f"argument {place}"
    return label or "item"


def argument_names(source: str) -> list[str]:
    r"""The names of a function's positional parameters, as its source has them.

    >>> argument_names("@ct.electron\ndef add(x, y=1, *more): ...")
    ['x', 'y']
    """
    try:
        tree = ast.parse(textwrap.dedent(source[:_LONGEST_SOURCE]))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # it is not all there
        return []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found = next((node for node in ast.walk(tree) if isinstance(node, kinds)), None)
    if found is None:
        return []
    return [argument.arg for argument in (*found.args.posonlyargs, *found.args.args)]


# -- where it runs, and with what --------------------------------------------------------------


def settings(executor: Row) -> dict[str, Any]:
    """What an executor was told, without secrets, and without what it was not told."""
    attributes = cast("Mapping[str, Any]", executor.get("attributes") or {})
    told = {
        name: value
        for name, value in attributes.items()
        if value not in (None, "", False, [], {}) and name not in _TOLD_ELSEWHERE
    }
    return cast("dict[str, Any]", with_secrets_hidden(told))


def _steps(preparation: Row) -> list[dict[str, str]]:
    return [
        {"when": when, "kind": step["kind"], "label": step["label"], "keyword": step["keyword"]}
        for when in ("before", "after")
        for step in preparation.get(when, ())
    ]
