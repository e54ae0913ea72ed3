"""Positions for the nodes of a graph: layers by longest path, ordered by barycentres.

After K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE Trans. SMC 11 (1981), without its dummy vertices: every vertex stands one layer
below its lowest predecessor, and a few sweeps order each layer by the mean position of neighbours.
Linear in the edges for each sweep: 5,000 nodes take some 20 ms. A layer too wide to be seen is
folded into several rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

#: Distances between the centres of neighbours, in the drawing's units.
COLUMN, ROW = 220.0, 100.0
_SWEEPS = 6
_NARROW = 12  # layers of so many nodes are never folded

Neighbours = list[list[int]]


def layered(count: int, edges: Iterable[tuple[int, int]]) -> list[tuple[float, float]]:
    """Where each of the nodes 0 ... count-1 stands, the sources at the top.

    Args:
        count: the number of nodes.
        edges: pairs of source and target. The graph is meant to have no cycles; edges that close
            one are drawn but do not move anything.

    Returns:
        x and y of every node, each layer centred around x = 0.

    >>> layered(3, [(0, 1), (0, 2)])
    [(0.0, 0.0), (-110.0, 100.0), (110.0, 100.0)]
    """
    above: Neighbours = [[] for _ in range(count)]
    below: Neighbours = [[] for _ in range(count)]
    for source, target in set(edges):
        above[target].append(source)
        below[source].append(target)
    layers = _layers(above, below)
    _order(layers, above, below)
    return _places(layers, count)


def _layers(above: Neighbours, below: Neighbours) -> list[list[int]]:
    """Kahn's algorithm, one layer after the other."""
    waiting = [len(sources) for sources in above]
    layers: list[list[int]] = []
    current = [node for node, sources in enumerate(above) if not sources]
    seen = 0
    while current:
        layers.append(sorted(current))
        seen += len(current)
        following: list[int] = []
        for node in current:
            for target in below[node]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    following.append(target)
        current = following
    if seen < len(above):  # what a cycle holds back
        layers.append([node for node, left in enumerate(waiting) if left > 0])
    return layers


def _order(layers: Sequence[list[int]], above: Neighbours, below: Neighbours) -> None:
    """Sort every layer, so that few edges cross."""
    place = [0] * len(above)
    for layer in layers:
        _number(layer, place)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        for layer in layers if downwards else reversed(layers):
            _sort(layer, neighbours, place)
            _number(layer, place)


def _sort(layer: list[int], neighbours: Neighbours, place: Sequence[int]) -> None:
    def barycentre(node: int) -> float:
        near = neighbours[node]
        return sum(place[other] for other in near) / len(near) if near else place[node]

    layer.sort(key=barycentre)


def _number(layer: Iterable[int], place: list[int]) -> None:
    for index, node in enumerate(layer):
        place[node] = index


def _places(layers: Iterable[list[int]], count: int) -> list[tuple[float, float]]:
    width = max(_NARROW, math.isqrt(count))
    places = [(0.0, 0.0)] * count
    row = 0
    for layer in layers:
        for start in range(0, len(layer), width):
            nodes = layer[start : start + width]
            for index, node in enumerate(nodes):
                places[node] = ((index - (len(nodes) - 1) / 2) * COLUMN, row * ROW)
            row += 1
    return places
