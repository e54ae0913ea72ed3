"""The transport graph: what a lattice turns into.

Nodes are numbered as they are made, an electron before its arguments. A *recipe* says in JSON how
a value is put together from others: `{"node": 3}`, `{"blob": digest}`, or a container of recipes,
`{"list": [...]}`, `{"tuple": ...}`, `{"set": ...}`, `{"dict": [[key, value], ...]}` (keys are
digests of blobs). The graph travels as a *manifest*: JSON that refers to blobs by digest.
"""

from __future__ import annotations

import graphlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from typing import Any

from qcov.errors import ElectronMisuse
from qcov.transport import address, shorten

Recipe = dict[str, Any]

#: The label of an edge that carries no value, only order.
AFTER = "!waits for"


class Kind(StrEnum):
    """What a node is."""

    ELECTRON = "electron"
    SUBLATTICE = "sublattice"
    PARAMETER = "parameter"  #: a constant
    COLLECTION = "collection"  #: a container with electrons in it
    ELEMENT = "element"  #: `x[i]` or `x.name` of another node


@dataclass(slots=True, kw_only=True)
class Node:
    """A vertex of the graph; which fields are set depends on its kind."""

    id: int
    name: str
    kind: Kind
    function: int | None = None  #: electron, sublattice: index into the graph's functions
    args: Sequence[int] = ()
    kwargs: Mapping[str, int] | None = None
    after: Sequence[int] = ()  #: nodes to wait for
    executor: int | None = None  #: index into the graph's executors
    retries: int = 0
    retry_delay: float = 0.0  #: seconds
    time_limit: float | None = None  #: seconds
    preparation: int | None = None  #: index into the graph's preparations
    needs: Sequence[int] = ()  #: nodes whose values its preparation needs
    cache: bool = False  #: electron, sublattice: whether its value is kept for equal ones
    value: str | None = None  #: parameter: digest
    text: str | None = None  #: parameter: what people see
    recipe: Recipe | None = None  #: collection
    source: int | None = None  #: element: the node that it is cut from
    item: str | None = None  #: element: digest of the index or key
    attribute: str | None = None  #: element: name of the attribute
    unpacked: int | None = None  #: element: how many there must be, of which `item` is one

    def inputs(self) -> Iterator[int]:
        """The nodes whose values this one needs."""
        yield from self.args
        yield from (self.kwargs or {}).values()
        yield from self.needs
        if self.recipe is not None:
            yield from nodes_of(self.recipe)
        if self.source is not None:
            yield self.source

    def as_json(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        described = zip(_NAMES, _values_of(self), _DEFAULTS, strict=True)
        return {name: value for name, value, default in described if value != default}


_NAMES = [field.name for field in fields(Node)]
_DEFAULTS = [field.default for field in fields(Node)]
_values_of: Callable[[Node], tuple[Any, ...]] = attrgetter(*_NAMES)  # one call for all


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """The code of an electron or sublattice."""

    digest: str
    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A function that is called before or after an electron's own."""

    kind: str  #: `DepsBash`, `DepsCall`, ...
    label: str  #: what people see
    function: str  #: digest
    args: Recipe
    kwargs: Recipe
    keyword: str  #: the electron's argument that gets what it returns; may be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What electrons need besides their arguments."""

    packages: Sequence[str]  #: requirements, as pip takes them
    before: Sequence[Step]
    after: Sequence[Step]

    def nodes(self) -> list[int]:
        """The nodes whose values its steps need."""
        steps = (*self.before, *self.after)
        given = chain.from_iterable((step.args, step.kwargs) for step in steps)
        return sorted({number for recipe in given for number in nodes_of(recipe)})


class TransportGraph:
    """Nodes, what several of them refer to, and the blobs of all constants."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.functions: list[Function] = []
        self.executors: list[dict[str, Any]] = []
        self.preparations: list[Preparation] = []
        self.blobs: dict[str, bytes] = {}
        #: What blobs are known by, where their digest does not say it; empty if by nothing.
        self.keys: dict[str, str] = {}
        #: When the first file can have been read for them, in nanoseconds since the epoch.
        self.keyed = time.time_ns()
        self.result: Recipe = {}

    def add(self, *, name: str, kind: Kind, **fields: Any) -> Node:
        """Append a node."""
        node = Node(id=len(self.nodes), name=name, kind=kind, **fields)
        self.nodes.append(node)
        return node

    def add_blob(self, blob: bytes) -> str:
        """Keep a blob; return its digest."""
        digest = address(blob)
        self.blobs[digest] = blob
        return digest

    def add_parameter(self, value: object, digest: str) -> Node:
        """Append a constant whose blob is kept already."""
        text = shorten(value)
        shown = text if len(text) <= 80 else text[:77] + "..."
        return self.add(
            name=f":parameter:{shown}",
            kind=Kind.PARAMETER,
            value=digest,
            text=text,
        )

    @property
    def edges(self) -> list[tuple[int, int, str]]:
        """Source, target and label of every edge."""
        return [edge for node in self.nodes for edge in self._edges_into(node)]

    def _edges_into(self, node: Node) -> Iterator[tuple[int, int, str]]:
        for position, source in enumerate(node.args):
            yield source, node.id, f"arg[{position}]"
        for name, source in (node.kwargs or {}).items():
            yield source, node.id, name
        for source in node.needs:
            yield source, node.id, "deps"
        for source in nodes_of(node.recipe or {}):
            yield source, node.id, ""
        if node.source is not None:
            yield node.source, node.id, node.attribute or "item"
        for source in node.after:
            yield source, node.id, AFTER

    def manifest(self) -> dict[str, Any]:
        """The graph as JSON, without the blobs."""
        return {
            "nodes": [node.as_json() for node in self.nodes],
            "edges": self.edges,
            "functions": [
                {"digest": function.digest, "name": function.name, "source": function.source}
                for function in self.functions
            ],
            "executors": self.executors,
            "preparations": [asdict(preparation) for preparation in self.preparations],
            "keys": self.keys,
            "keyed": self.keyed,
            "result": self.result,
        }


def assembled(recipe: Recipe, load: Callable[[str], Any], value_of: Callable[[int], Any]) -> Any:
    """Put a value together.

    Args:
        recipe: How.
        load: Gives the object of a blob.
        value_of: Gives the value of a node.
    """
    [(form, content)] = recipe.items()
    if form == "blob":
        return load(content)
    if form == "node":
        return value_of(content)
    if form == "dict":
        return {load(key): assembled(part, load, value_of) for key, part in content}
    parts = [assembled(part, load, value_of) for part in content]
    return {"list": list, "tuple": tuple, "set": set}[form](parts)


def nodes_of(recipe: Mapping[str, Any]) -> Iterator[int]:
    """The nodes that a recipe refers to, in order."""
    for form, content in recipe.items():
        if form == "node":
            yield int(content)
        elif form == "dict":
            for _, value in content:
                yield from nodes_of(value)
        elif form != "blob":
            for item in content:
                yield from nodes_of(item)


def blobs_of(recipe: Mapping[str, Any]) -> Iterator[str]:
    """The digests that a recipe refers to."""
    for form, content in recipe.items():
        if form == "blob":
            yield str(content)
        elif form == "dict":
            for key, value in content:
                yield str(key)
                yield from blobs_of(value)
        elif form != "node":
            for item in content:
                yield from blobs_of(item)


def parse_nodes(manifest: Mapping[str, Any]) -> list[Node]:
    """The nodes of a manifest.

    Raises `LookupError`, `TypeError` or `ValueError` for what is none.
    """
    rows: Sequence[Mapping[str, Any]] = manifest["nodes"]
    kinds = {kind.value: kind for kind in Kind}
    described: Iterator[dict[str, Any]] = ({**row, "kind": kinds[row["kind"]]} for row in rows)
    nodes = [Node(**fields) for fields in described]
    known = {name: range(len(manifest.get(name, ()))) for name in _SHARED.values()}
    for number, node in enumerate(nodes):
        if node.id != number:
            raise ValueError(f"node {node.id!r} stands where node {number} should")
        if node.function is None and node.kind in (Kind.ELECTRON, Kind.SUBLATTICE):
            raise ValueError(f"node {number} has no function")
        for field, shared in _SHARED.items():
            index = getattr(node, field)
            if index is not None and index not in known[shared]:
                raise ValueError(f"node {number} has no {field} that is known")
    return nodes


#: What of a node is an index, and into which part of the graph.
_SHARED = {"function": "functions", "executor": "executors", "preparation": "preparations"}


def check_acyclic(nodes: Sequence[Node]) -> None:
    """Raise `ElectronMisuse` if nodes wait for each other in a circle."""
    if not any(node.after or node.source is not None for node in nodes):
        return  # an electron cannot be given what is made after it
    needs = {node.id: {*node.inputs(), *node.after} for node in nodes}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        names = {node.id: node.name for node in nodes}
        circle = [names[number] for number in error.args[1]]
        use = f"made to wait for what needs it ({' before '.join(circle)})"
        advice = "None of them could ever start: let one wait less."
        raise ElectronMisuse(electron=circle[0], use=use, advice=advice) from None
