"""A graph to look at: as text, and as a picture in notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from qcov.classical.graph import Kind, Node, TransportGraph
from qcov.inert import inert
from qcov.layout import ROW, layered

_MOST = 500  # nodes of a picture; more would be too small to see
_CONSTANTS = 60  # nodes up to which constants are drawn too
_WIDE, _HIGH = 180.0, 36.0  # of a node, less than what is between the centres of two
_MARGIN = 12.0
_LETTERS = 24  # of a name
_DEFINED = (
    '<defs><marker id="qcov-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
)


class Drawing(str):
    """A graph as text, a line per node with what it needs; `svg` has it as a picture.

    A notebook shows the picture where it is the value of a cell. It has the colour of the text
    around it, light or dark, and nothing in it runs.
    """

    __slots__ = ("svg",)

    svg: str

    def __new__(cls, graph: TransportGraph) -> Drawing:
        """Draw a graph."""
        made = super().__new__(cls, _text(graph))
        made.svg = _picture(graph)
        return made

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.svg

    def _repr_svg_(self) -> str:
        return self.svg

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def _text(graph: TransportGraph) -> str:
    sources: dict[int, list[int]] = {}
    for source, target, _ in graph.edges:
        sources.setdefault(target, []).append(source)
    return "\n".join(
        _line(node, graph.nodes, sources.get(node.id, ()))
        for node in graph.nodes
        if node.kind is not Kind.PARAMETER
    )


def _line(node: Node, nodes: Sequence[Node], sources: Sequence[int]) -> str:
    needed = ", ".join(f"[{source}] {nodes[source].name}" for source in sources)
    return f"[{node.id}] {node.name}" + (f" <- {needed}" if needed else "")


# -- as a picture ------------------------------------------------------------------------------


def _picture(graph: TransportGraph) -> str:
    constants = len(graph.nodes) <= _CONSTANTS
    nodes = [node for node in graph.nodes if constants or node.kind is not Kind.PARAMETER]
    shown, left_out = nodes[:_MOST], len(nodes) - _MOST
    number = {node.id: place for place, node in enumerate(shown)}
    edges = sorted(
        {(number[a], number[b]) for a, b, _ in graph.edges if a in number and b in number}
    )
    places = layered(len(shown), edges)
    parts = [*(_edge(places, a, b) for a, b in edges), *map(_box, shown, places)]
    told = f"{left_out} more nodes are not drawn" if left_out > 0 else ""
    return _framed(parts, places, told)


def _framed(parts: Sequence[str], places: Sequence[tuple[float, float]], told: str) -> str:
    across, down = [x for x, _ in places] or [0.0], [y for _, y in places] or [0.0]
    left, top = min(across) - _WIDE / 2 - _MARGIN, min(down) - _HIGH / 2 - _MARGIN
    width = max(across) - min(across) + _WIDE + 2 * _MARGIN
    height = max(down) - min(down) + _HIGH + 2 * _MARGIN + (24 if told else 0)
    note = _label(left + _MARGIN, top + height - _MARGIN, told, "start") if told else ""
    box = f"{left:g} {top:g} {width:g} {height:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="graph" viewBox="{box}" '
        f'width="{width:g}" height="{height:g}" style="max-width:100%;height:auto" '
        f'font-family="sans-serif" font-size="13">{_DEFINED}{"".join(parts)}{note}</svg>'
    )


def _edge(places: Sequence[tuple[float, float]], source: int, target: int) -> str:
    (x1, y1), (x2, y2) = places[source], places[target]
    y1, y2 = y1 + _HIGH / 2, y2 - _HIGH / 2
    bend = (ROW - _HIGH) / 2
    path = f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
    return (
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.5" '
        'marker-end="url(#qcov-arrow)"/>'
    )


_DASHES: Mapping[Kind, str] = {Kind.COLLECTION: "4 3", Kind.ELEMENT: "4 3", Kind.PARAMETER: "1 4"}


def _box(node: Node, place: tuple[float, float]) -> str:
    x, y = place
    dashes = f' stroke-dasharray="{_DASHES[node.kind]}"' if node.kind in _DASHES else ""
    thick = 2.5 if node.kind is Kind.SUBLATTICE else 1
    name = node.text if node.kind is Kind.PARAMETER and node.text else node.name
    return (
        f"<g><title>{_safe(f'[{node.id}] {node.name}')}</title>"
        f'<rect x="{x - _WIDE / 2:g}" y="{y - _HIGH / 2:g}" width="{_WIDE:g}" height="{_HIGH:g}" '
        f'rx="6" fill="currentColor" fill-opacity="0.06" stroke="currentColor" '
        f'stroke-width="{thick:g}"{dashes}/>{_label(x, y + 4.5, name, "middle")}</g>'
    )


def _label(x: float, y: float, text: str, anchor: str) -> str:
    text = " ".join(text.split())
    short = text if len(text) <= _LETTERS or anchor == "start" else f"{text[: _LETTERS - 1]}…"
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor">{_safe(short)}</text>'


def _safe(text: str) -> str:
    return escape("".join(_printable(inert(text))))


def _printable(text: str) -> Iterator[str]:
    """What XML can have: half a surrogate pair it cannot."""
    return (letter if not "\ud800" <= letter <= "\udfff" else "\ufffd" for letter in text)
