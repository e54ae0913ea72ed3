"""What a worker gets of a graph: an electron's function and inputs, as recipes over blobs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from qcov.classical.engine.channel import Message
from qcov.classical.engine.schedule import RESULT
from qcov.classical.executors.description import decisive
from qcov.classical.graph import Kind, Node, Recipe, blobs_of
from qcov.transport import address

#: When an electron's steps run.
STEPS = ("before", "after")


class Bundles:
    """Describes a dispatch's electrons to workers.

    Args:
        nodes: The graph's nodes by number.
        manifest: The graph.
    """

    def __init__(self, nodes: Mapping[int, Node], manifest: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._manifest = manifest
        #: The digests of what is known already, constants first.
        self.outputs = {node.id: node.value for node in nodes.values() if node.value is not None}
        #: What values are known by that electrons have returned, where their digest does not say.
        self.keys: dict[int, str] = {}
        #: Since when code may be newer than the keys, in nanoseconds; 0 if nobody knows.
        self.keyed = int(manifest.get("keyed", 0))
        self._parts: dict[int, list[Node]] = {}
        for node in nodes.values():
            if node.source is not None:
                self._parts.setdefault(self._origin(node.source), []).append(node)

    def parts_of(self, number: int) -> list[Node]:
        """The element nodes that are cut from a node, directly or through other elements."""
        return self._parts.get(number, [])

    def electron(self, node: Node) -> Message:
        """The bundle of an electron or sublattice whose inputs are known."""
        return {
            "kind": node.kind.value,
            "name": node.name,
            "function": self._manifest["functions"][node.function]["digest"],
            "args": [self._recipe(source) for source in node.args],
            "kwargs": {name: self._recipe(source) for name, source in (node.kwargs or {}).items()},
            "cuts": _cuts(self.parts_of(node.id), node.id),
            "keyed": self.keyed,
            **self._place(node),
            **self._steps(node),
        }

    def names_no_executor(self, node: Node) -> bool:
        """True for an electron for which the engine chooses where it runs."""
        return node.kind is Kind.ELECTRON and bool(self._executor(node).get("unnamed"))

    def names_our_dask(self, node: Node) -> bool:
        """True for an electron that is to run on the engine's own Dask cluster."""
        executor = self._executor(node)
        named = executor["type"] == "dask" and "object" not in executor
        return named and not executor["attributes"].get("scheduler_address")

    def key(self, node: Node) -> str | None:
        """What an electron or sublattice with known inputs computes, as a key.

        None if its code, or something that it is given, cannot be told from others.
        """
        try:
            told = [
                node.kind.value,
                self._known_by(self._manifest["functions"][node.function]["digest"]),
                [self._told_of(source) for source in node.args],
                [[name, self._told_of(source)] for name, source in (node.kwargs or {}).items()],
                self.packages(node.id),
                self._told_steps(node),
                self._told_executor(self._executor(node)),
            ]
        except _NotKnown:
            return None
        return address(json.dumps(told).encode())

    def known(self, node: Node, digest: str) -> Message:
        """The bundle that cuts the parts of a value that is known already."""
        return {
            "kind": "result",
            "name": node.name,
            "recipe": {"blob": digest},
            "cuts": _cuts(self.parts_of(node.id), node.id),
            "workdir": self._executor(node)["attributes"].get("workdir"),
        }

    def result(self, needed: list[Node], origin: int | None) -> Message:
        """The bundle that puts the result together, and cuts what the parent needs of it."""
        return {
            "kind": "result",
            "name": "the result",
            "recipe": self._expand(self._manifest["result"]),
            "cuts": _cuts(needed, origin),
            "workdir": self._manifest["workflow_executor"]["attributes"].get("workdir"),
        }

    def packages(self, number: int) -> tuple[str, ...]:
        """What must be installed where a node, or `RESULT`, is computed."""
        if number == RESULT:
            return tuple(self._manifest.get("packages", ()))
        preparation = self._preparation(self._nodes[number])
        return tuple(preparation["packages"]) if preparation else ()

    def _preparation(self, node: Node) -> Message | None:
        if node.preparation is None:
            return None
        return self._manifest["preparations"][node.preparation]

    def _steps(self, node: Node) -> Message:
        preparation = self._preparation(node)
        if preparation is None:
            return {}
        return {
            when: [
                {**step, "args": self._expand(step["args"]), "kwargs": self._expand(step["kwargs"])}
                for step in preparation[when]
            ]
            for when in STEPS
        }

    def _recipe(self, number: int) -> Recipe:
        node = self._nodes[number]
        if node.recipe is not None:
            return self._expand(node.recipe)
        return {"blob": self.outputs[number]}

    # -- what values are known by

    def _told_executor(self, executor: Message) -> list[Any]:
        own = [self._known_by(executor["object"])] if "object" in executor else []
        return [decisive(executor), *own]

    def _told_steps(self, node: Node) -> list[Any]:
        preparation = self._preparation(node) or {}
        return [
            [when, self._known_by(step["function"]), step["keyword"], *map(self._told, given)]
            for when in STEPS
            for step in preparation.get(when, ())
            for given in [(step["args"], step["kwargs"])]
        ]

    def _told_of(self, number: int) -> Any:
        node = self._nodes[number]
        if node.recipe is not None:
            return self._told(node.recipe)
        if node.value is not None:
            return self._known_by(node.value)
        return _known(self.keys.get(number, self.outputs[number]))

    def _told(self, recipe: Recipe) -> Any:
        [(form, content)] = recipe.items()
        if form == "node":
            return self._told_of(content)
        if form == "blob":
            return self._known_by(content)
        if form == "dict":
            return {"dict": [[self._known_by(key), self._told(part)] for key, part in content]}
        parts = list(map(self._told, content))
        return {form: sorted(parts, key=json.dumps) if form == "set" else parts}

    def _known_by(self, digest: str) -> str:
        """What a constant is known by; a manifest of an older qcov does not say it."""
        return _known(
            self._manifest["keys"].get(digest, digest) if "keys" in self._manifest else ""
        )

    # -- recipes

    def _expand(self, recipe: Recipe) -> Recipe:
        """The recipe with blobs in the place of nodes."""
        [(form, content)] = recipe.items()
        if form == "node":
            return self._recipe(content)
        if form == "blob":
            return recipe
        if form == "dict":
            return {"dict": [[key, self._expand(part)] for key, part in content]}
        return {form: [self._expand(part) for part in content]}

    def _origin(self, source: int) -> int:
        """The electron that an element of `source` is cut from, maybe through other elements."""
        while (above := self._nodes[source].source) is not None:
            source = above
        return source

    def _executor(self, node: Node) -> Message:
        if node.executor is None:
            return {"type": "", "attributes": {}}
        return self._manifest["executors"][node.executor]

    def _place(self, node: Node) -> Message:
        """Where an electron runs: its folder, its executor if that is a user's own, its logs."""
        executor = self._executor(node)
        attributes: Message = executor["attributes"]
        place: Message = {"workdir": attributes.get("workdir")}
        if node.kind is Kind.SUBLATTICE:  # it is built here, and its electrons run there
            return place
        logs = [attributes.get("log_stdout") or "", attributes.get("log_stderr") or ""]
        if any(logs):
            place["logs"] = logs
        if "object" in executor:
            place["executor"] = executor["object"]
        elif executor["type"] == "dask":
            place["executor"] = _on_dask(attributes, node)
        return place


def _on_dask(attributes: Message, node: Node) -> Message:
    """`DaskExecutor` as data; it sees to the time limit itself, which begins on a worker."""
    return {"type": "dask", "attributes": {**attributes, "time_limit": node.time_limit}}


class _NotKnown(Exception):
    """A value has no key."""


def _known(key: str) -> str:
    if not key:
        raise _NotKnown
    return key


def _cuts(parts: list[Node], origin: int | None) -> list[Message]:
    return [
        {
            "node": part.id,
            "name": part.name,
            "of": None if part.source == origin else part.source,
            "item": part.item,
            "attribute": part.attribute,
            "unpacked": part.unpacked,
        }
        for part in parts
    ]


def digests(bundle: Message) -> Iterator[str]:
    """The blobs that a worker needs for a bundle, its function's left out."""
    for recipe in (*bundle.get("args", ()), *bundle.get("kwargs", {}).values()):
        if "blob" in recipe:  # nearly always
            yield recipe["blob"]
        else:
            yield from blobs_of(recipe)
    yield from blobs_of(bundle.get("recipe", {}))
    if isinstance(bundle.get("executor"), str):
        yield bundle["executor"]
    for step in (step for when in STEPS for step in bundle.get(when, ())):
        yield step["function"]
        yield from blobs_of(step["args"])
        yield from blobs_of(step["kwargs"])
    for cut in bundle["cuts"]:
        if cut["item"] is not None:
            yield cut["item"]
