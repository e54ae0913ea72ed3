"""What an earlier dispatch has computed, to be taken over by one that runs it again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qcov.classical.engine.bundles import Bundles
from qcov.classical.engine.channel import Message
from qcov.classical.graph import Kind, Node, parse_nodes
from qcov.classical.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A value that need not be computed again."""

    output: str  #: digest
    text: str | None  #: what people see of it
    dispatch_id: str  #: which dispatch has computed it


class Earlier:
    """The values of an earlier dispatch.

    Args:
        dispatch_id: Its id.
        manifest: Its graph.
        rows: Its nodes' rows.
        outputs: The digests of their outputs, by node, their seals checked.
    """

    def __init__(
        self,
        dispatch_id: str,
        manifest: Message,
        rows: Iterable[Message],
        outputs: Mapping[int, str],
    ) -> None:
        nodes = {node.id: node for node in parse_nodes(manifest)}
        bundles = Bundles(nodes, manifest)
        bundles.outputs |= outputs
        self._known: dict[str, dict[int, Known]] = {}
        self._children: dict[tuple[int, str], str] = {}
        for row in rows:
            node = nodes[row["node_id"]]
            if node.function is None:
                continue
            if row["sub_dispatch_id"] is not None:
                self._children[node.id, node.name] = row["sub_dispatch_id"]
            if row["status"] != Status.COMPLETED or not _has_inputs(node, nodes, bundles.outputs):
                continue
            key = bundles.key(node)
            if key is not None:
                origin = row["reused_from"] or dispatch_id
                known = Known(output=row["output"], text=row["value_repr"], dispatch_id=origin)
                self._known.setdefault(key, {})[node.id] = known

    def take(self, key: str | None, node: int) -> Known | None:
        """A value with this key, that of the same node where there is one; each is given once."""
        values = self._known.get(key or "")
        if not values:
            return None
        return values.pop(node if node in values else min(values))

    def child(self, node: Node) -> str | None:
        """The dispatch of the sublattice that stood in this node's place."""
        return self._children.get((node.id, node.name))


def _has_inputs(node: Node, nodes: Mapping[int, Node], outputs: Mapping[int, str]) -> bool:
    """Whether all values are known that a node was given."""
    return all(
        _has_inputs(nodes[number], nodes, outputs)
        if nodes[number].kind is Kind.COLLECTION
        else number in outputs
        for number in node.inputs()
    )
