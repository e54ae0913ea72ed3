"""When the nodes of a dispatch waited and ran, as the timeline draws them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from qcov.inert import inert
from qcov_server.engine import Row
from qcov_server.ui.present import node_label

#: Nodes that are there from the beginning, or as soon as what they are made of.
_STRUCTURAL = frozenset({"parameter", "collection", "element"})


def timeline(
    dispatch: Row, nodes: Sequence[Row], edges: Sequence[tuple[int, int, str]]
) -> dict[str, Any]:
    """The electrons and sublattices of a dispatch, in the order in which they began.

    Each is a list: number, name, status, when its inputs were there, its beginning, its end, and
    the dispatch of a sublattice. Moments are in seconds since the dispatch was created; `now` is
    the server's.
    """
    zero = dispatch["created"]
    ready = ready_moments(dispatch, nodes, edges)
    rows = [
        [
            node["node_id"],
            inert(node_label(node["name"])),
            node["status"],
            _since(zero, ready.get(node["node_id"])),
            _since(zero, node["started"]),
            _since(zero, node["ended"]),
            node["sub_dispatch_id"],
        ]
        for node in nodes
        if node["kind"] not in _STRUCTURAL
    ]
    rows.sort(key=lambda row: (row[4] is None, row[4] or row[3] or 0, row[0]))
    end = dispatch["ended"]
    return {"rows": rows, "now": time.time() - zero, "ended": _since(zero, end)}


def ready_moments(
    dispatch: Row, nodes: Sequence[Row], edges: Sequence[tuple[int, int, str]]
) -> Mapping[int, float]:
    """When all that a node needs was there; nodes that still wait for something are left out."""
    begun = dispatch["started"]
    if begun is None:
        return {}
    ends = {node["node_id"]: node["ended"] for node in nodes}
    structural = {node["node_id"] for node in nodes if node["kind"] in _STRUCTURAL}
    waiting = dict.fromkeys(ends, 0)
    below: dict[int, list[int]] = {}
    for source, target, _ in edges:
        waiting[target] += 1
        below.setdefault(source, []).append(target)
    latest: dict[int, float] = dict.fromkeys(ends, float(begun))
    found: dict[int, float] = {}
    queue = [node for node, left in waiting.items() if left == 0]
    for node in queue:  # it grows
        found[node] = latest[node]
        end = latest[node] if node in structural else ends[node]
        if end is None:
            continue
        for target in below.get(node, ()):
            latest[target] = max(latest[target], end)
            waiting[target] -= 1
            if waiting[target] == 0:
                queue.append(target)
    return found


def _since(zero: float, moment: float | None) -> float | None:
    return None if moment is None else round(moment - zero, 4)
