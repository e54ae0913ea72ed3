"""Values that need not be computed again: an earlier dispatch's, and those kept for all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcov.classical.engine.bundles import Bundles
from qcov.classical.engine.channel import Message
from qcov.classical.graph import Kind, Node, parse_nodes
from qcov.classical.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A value that need not be computed again."""

    output: str  #: digest
    key: str | None  #: what it is known by, if its digest does not say it
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
        rows: Sequence[Message],
        outputs: Mapping[int, str],
    ) -> None:
        nodes = {node.id: node for node in parse_nodes(manifest)}
        bundles = Bundles(nodes, manifest)
        bundles.outputs |= outputs
        bundles.keys |= keys_of(rows)
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
                self._known.setdefault(key, {})[node.id] = Known(
                    output=outputs[node.id],
                    key=row["output_key"],
                    text=row["value_repr"],
                    dispatch_id=row["reused_from"] or dispatch_id,
                )

    def take(self, key: str | None, node: int) -> Known | None:
        """A value with this key, that of the same node where there is one; each is given once."""
        values = self._known.get(key or "")
        if not values:
            return None
        return values.pop(node if node in values else min(values))

    def child(self, node: Node) -> str | None:
        """The dispatch of the sublattice that stood in this node's place."""
        return self._children.get((node.id, node.name))


class Values:
    """Where a run's electrons have their values from, if they do not run.

    Args:
        dispatch_id: The run's.
        bundles: What the electrons are given.
        earlier: A dispatch whose values are taken over.
    """

    def __init__(self, dispatch_id: str, bundles: Bundles, earlier: Earlier | None) -> None:
        self._dispatch_id = dispatch_id
        self._bundles = bundles
        self._earlier = earlier
        self._taken: dict[int, Known] = {}
        self._keys: dict[int, str] = {}

    def find(self, nodes: Iterable[Node]) -> tuple[dict[int, Known], dict[int, str]]:
        """Values for electrons that are about to run; what is found once is found again.

        Returns them, and the keys under which those of other electrons may have been kept.
        """
        found: dict[int, Known] = {}
        asked: dict[int, str] = {}
        for node in nodes:
            if node.id in self._taken:
                found[node.id] = self._taken[node.id]
            elif (self._earlier is not None or node.cache) and (key := self._bundles.key(node)):
                known = None if self._earlier is None else self._earlier.take(key, node.id)
                if known is not None:
                    found[node.id] = known
                elif node.cache:
                    asked[node.id] = key
        self._keys |= asked
        self._taken |= found
        return found, asked

    def remember(self, asked: Mapping[int, str], kept: Mapping[str, Known]) -> dict[int, Known]:
        """Take over what was kept under the keys that were asked for."""
        found = {number: kept[key] for number, key in asked.items() if key in kept}
        self._taken |= found
        return found

    def forget_earlier(self) -> None:
        """Take nothing more over from another dispatch."""
        self._earlier = None

    def drop(self, number: int) -> bool:
        """Compute what was taken over, which cannot be loaded; False if nothing was."""
        return self._taken.pop(number, None) is not None

    def origin(self, number: int) -> str | None:
        """The dispatch that has computed a node's value; None if its own has."""
        origin = self._taken[number].dispatch_id if number in self._taken else None
        return None if origin == self._dispatch_id else origin

    def key_to_keep(self, number: int) -> str | None:
        """Under which key a node's value is to be kept, if it is."""
        return None if number in self._taken else self._keys.get(number)

    def earlier_child(self, node: Node) -> str | None:
        """The sublattice of the earlier dispatch that stood in a node's place."""
        return None if self._earlier is None else self._earlier.child(node)


def keys_of(rows: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """What the outputs of nodes are known by, where their digests do not say it."""
    return {row["node_id"]: row["output_key"] for row in rows if row["output_key"] is not None}


def _has_inputs(node: Node, nodes: Mapping[int, Node], outputs: Mapping[int, str]) -> bool:
    """Whether all values are known that a node was given."""
    return all(
        _has_inputs(nodes[number], nodes, outputs)
        if nodes[number].kind is Kind.COLLECTION
        else number in outputs
        for number in node.inputs()
    )
