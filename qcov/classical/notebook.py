"""How a notebook shows results and lattices: HTML in which nothing runs, for light and for dark.

All text of the user's is escaped. There are no scripts, no styles of the page and nothing from
elsewhere; colours are those of the text around, but for a mark beside the name of a status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from qcov.headline import headline
from qcov.inert import inert

_NODES = 50  # rows of a table
_LETTERS = 200  # of a value
_MARKS = {
    "COMPLETED": ("✓", "#2da44e"),
    "FAILED": ("✗", "#e5534b"),
    "RUNNING": ("●", "#4184e4"),
    "CANCELING": ("■", "#c69026"),
    "CANCELLED": ("■", "#c69026"),
}
_CELL = 'style="text-align:left;padding:2px 12px 2px 0;vertical-align:top;white-space:pre-wrap"'

Row = Mapping[str, Any]


def result_html(row: Row, nodes: Sequence[Row], circuits: Sequence[Row]) -> str:
    """A dispatch: status, times, result or error, circuits, nodes."""
    facts = [
        ("status", _status(row["status"])),
        ("electrons", f"{row['nodes_done']} of {row['nodes_total']}"),
        ("started", _moment(row["started"])),
        ("took", _length(row)),
        ("result", _code(row["result_repr"])),
        *(("circuits", _circuits(each)) for each in circuits),
        ("error", _code(row["error"], cut=False)),
        ("id", _code(row["id"])),
    ]
    told = "".join(
        f'<tr><th {_CELL} scope="row">{name}</th><td {_CELL}>{value}</td></tr>'
        for name, value in facts
        if value
    )
    return f"<div><strong>{_safe(row['name'])}</strong><table>{told}</table>{_nodes(nodes)}</div>"


def _nodes(nodes: Sequence[Row]) -> str:
    shown = [node for node in nodes if node["kind"] in {"electron", "sublattice"}]
    if not shown:
        return ""
    rows = "".join(map(_node, shown[:_NODES]))
    more = "" if len(shown) <= _NODES else f"<tr><td {_CELL} colspan=5>and more</td></tr>"
    names = ("node", "name", "status", "took", "value")
    head = "".join(f'<th {_CELL} scope="col">{name}</th>' for name in names)
    return (
        f"<details><summary>Nodes</summary><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}{more}</tbody></table></details>"
    )


def _node(node: Row) -> str:
    error = headline(node["error"])
    cells = (
        str(node["node_id"]), _safe(node["name"]), _status(node["status"]), _length(node),
        _code(error or node["value_repr"]),
    )  # fmt: skip
    return f"<tr>{''.join(f'<td {_CELL}>{cell}</td>' for cell in cells)}</tr>"


def lattice_html(name: str, signature: str, doc: str | None, below: str) -> str:
    """A lattice: how it is called, what it says of itself, and its graph or source."""
    told = f"<p>{_safe(doc)}</p>" if doc else ""
    head = f"<p><strong>{_safe(name)}</strong><code>{_safe(signature)}</code></p>"
    return f"<div>{head}{told}{below}</div>"


def source_html(source: str) -> str:
    """Source as its author wrote it."""
    return f"<pre>{_safe(source)}</pre>"


def _status(status: str) -> str:
    mark, colour = _MARKS.get(status, ("○", "currentColor"))
    return f'<span style="color:{colour}" aria-hidden="true">{mark}</span> {_safe(status)}'


def _circuits(row: Row) -> str:
    where = f"{row['executor']}({row['device']})" if row["device"] else row["executor"]
    seconds = f", {row['seconds']:.2f} s" if row["seconds"] is not None else ""
    return f"{row['circuits']} on {_safe(where)}{seconds}"


def _code(text: str | None, *, cut: bool = True) -> str:
    if not text:
        return ""
    short = text if not cut or len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
    return f"<code>{_safe(short)}</code>"


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")


def _length(row: Row) -> str:
    if row["started"] is None or row["ended"] is None:
        return ""
    return f"{row['ended'] - row['started']:.2f} s"


def _safe(text: str) -> str:
    return escape(inert(text))
