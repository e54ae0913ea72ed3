"""A graph as its page draws it: as little text as can be, for there may be thousands of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qcov.inert import inert
from qcov.layout import layered
from qcov_server.engine import Row
from qcov_server.ui.present import node_label


def drawing(nodes: Sequence[Row], edges: Sequence[tuple[int, int, str]]) -> dict[str, Any]:
    """Nodes and edges as lists.

    A node is its number, label, kind, status, the dispatch of a sublattice, and where it stands;
    an edge is the numbers of its source and its target.
    """
    index = {node["node_id"]: place for place, node in enumerate(nodes)}
    places = layered(len(nodes), [(index[source], index[target]) for source, target, _ in edges])
    return {
        "nodes": [
            [
                node["node_id"],
                inert(node_label(node["name"])),
                node["kind"],
                node["status"],
                node["sub_dispatch_id"],
                x,
                y,
            ]
            for node, (x, y) in zip(nodes, places, strict=True)
        ],
        "edges": [(source, target) for source, target, _ in edges],
    }
