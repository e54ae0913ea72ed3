"""A dispatch as a research object: an RO-Crate of the profile *Provenance Run Crate*.

Who gets it can see what ran, in which order, with which inputs, where, when, and what came out,
with tools that know nothing of qcov. It has no pickles: what is in it can be read in twenty years,
and opened without danger.

Profile: https://w3id.org/ro/wfrun/provenance/0.5, by S. Leo et al., "Recording provenance of
workflow runs with RO-Crate", PLoS ONE 19 (2024). The vocabulary is schema.org's.
"""

from __future__ import annotations

import getpass
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qcov.settings import with_secrets_hidden
from qcov.store.asking import Row
from qcov.store.store import Store
from qcov.transport import address
from qcov.version import __version__

_RUN_PROFILES = ("process", "workflow", "provenance")
_RUN_PROFILE = "https://w3id.org/ro/wfrun/{name}/0.5"
_WORKFLOW_PROFILE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_OUTCOME = "http://schema.org/{word}ActionStatus"
_CIRCUITS_AT_ONCE = 1000
_STREAMS = ("stdout", "stderr")
_NODE = (
    "node_id", "name", "kind", "status", "executor", "attempt", "started", "ended", "error",
    "value_repr", "output", "sub_dispatch_id", "reused_from",
)  # fmt: skip

Entity = Any  #: of rocrate, which has no types


def write_crate(store: Store, dispatch_id: str, path: Path) -> None:
    """Write a dispatch, with its sublattices, as a zipped RO-Crate.

    Args:
        store: Where it is.
        dispatch_id: Which one.
        path: The file; it is there once all of it is written, or not at all.

    Raises:
        DispatchNotFound: There is no such dispatch.
        OSError: The file cannot be written.
    """
    from rocrate.rocrate import ROCrate

    row = store.get_dispatch(dispatch_id)
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.touch(mode=0o600)
        with tempfile.TemporaryDirectory(prefix="qcov-") as folder:
            crate: Any = ROCrate(version="1.1")
            _Filling(store, crate, Path(folder)).add(row)
            crate.write_zip(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


class _Filling:
    """A crate into which a dispatch is put; `folder` holds its files until it is written."""

    def __init__(self, store: Store, crate: Any, folder: Path) -> None:
        self._store, self._crate, self._folder = store, crate, folder
        self._made: dict[str, Entity] = {}  # the crate itself looks at all before it says no
        self._engine = self._new(
            "#qcov", "SoftwareApplication",
            name=f"qcov {__version__}", softwareVersion=__version__,
        )  # fmt: skip
        self._agent = self._new("#user", "Person", name=getpass.getuser())

    def add(self, row: Row) -> None:
        """The dispatch that it is about."""
        root = self._crate.root_dataset
        root["name"] = f"{row['name']} ({row['id']})"
        root["description"] = f"A run of the qcov workflow {row['name']!r}: {row['status']}."
        root["datePublished"] = _moment(row["ended"] or row["created"])
        root["license"] = "The rights to it were not stated when it was exported."
        profiles = [_RUN_PROFILE.format(name=name) for name in _RUN_PROFILES]
        root["conformsTo"] = [self._profile(url) for url in (*profiles, _WORKFLOW_PROFILE)]
        self._dispatch(row)

    def _profile(self, url: str) -> Entity:
        name, version = url.split("/")[-2:]
        return self._new(url, "CreativeWork", name=f"{name} profile", version=version)

    # -- a dispatch, and its sublattices

    def _dispatch(self, row: Row) -> tuple[Entity, Entity]:
        """Its workflow, and the action that was its run."""
        manifest = self._store.manifest(row["id"])
        workflow = self._workflow(row, manifest)
        action = self._action(f"#run-{row['id']}", row, workflow)
        arguments = json.loads(row["inputs_repr"])
        named = {f"argument {at}": value for at, value in enumerate(arguments["args"])}
        for name, value in {**named, **arguments["kwargs"]}.items():
            formal = self._formal(workflow, "input", name)
            action.append_to("object", self._value(f"{action.id}-{name}", name, value, formal))
        if row["result_repr"] is not None:
            formal = self._formal(workflow, "output", "result")
            value = self._value(f"{action.id}-result", "result", row["result_repr"], formal)
            action.append_to("result", value)
        for file in self._files(row, manifest):
            action.append_to("subjectOf", file)
        self._organised(row, manifest, workflow, action)
        return workflow, action

    def _workflow(self, row: Row, manifest: Mapping[str, Any]) -> Entity:
        from rocrate.model.computationalworkflow import ComputationalWorkflow

        main = row["parent_id"] is None or self._crate.mainEntity is None
        path = "workflow.py" if main else f"sublattices/{row['id']}.py"
        text = str(manifest.get("source") or "") or f"# {row['name']} has no source.\n"
        properties = {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": row["name"],
            "programmingLanguage": self._python(row["id"]),
            "version": address(text.encode())[:16],
            "conformsTo": {"@id": _BIOSCHEMAS},
            "encodingFormat": "text/x-python",
        }
        file = self._written(path, text)
        entity = ComputationalWorkflow(self._crate, file, path, properties=properties)
        made = self._crate.add(entity)
        if main:
            self._crate.mainEntity = made
        return made

    def _python(self, dispatch_id: str) -> Entity:
        version = (self._store.environment(dispatch_id) or {}).get("python", "3")
        url = "https://www.python.org/"
        named = {"name": "Python", "version": version, "url": url, "identifier": url}
        return self._new(f"#python-{version}", "ComputerLanguage", **named)

    def _files(self, row: Row, manifest: Mapping[str, Any]) -> Iterator[Entity]:
        """What the profile has no words for, as JSON."""
        where = "" if row["parent_id"] is None else f"sublattices/{row['id']}/"
        around = self._store.environment(row["id"])
        if around is not None:
            text = json.dumps(around, indent=1)
            yield self._file(f"{where}environment.json", text, "What it ran in", "application/json")
        nodes = [{key: node[key] for key in _NODE} for node in self._store.get_nodes(row["id"])]
        edges = self._store.get_edges(row["id"])
        executors = with_secrets_hidden(manifest["executors"])
        graph = {"nodes": nodes, "edges": edges, "executors": executors}
        text = json.dumps(graph, indent=1)
        yield self._file(f"{where}graph.json", text, "Its nodes and edges", "application/json")
        circuits = "".join(self._circuits(row["id"]))
        if circuits:
            name, kind = "Its circuits, one a line", "application/x-ndjson"
            yield self._file(f"{where}circuits.jsonl", circuits, name, kind)

    def _circuits(self, dispatch_id: str) -> Iterator[str]:
        offset = 0
        while rows := self._store.get_circuits(dispatch_id, limit=_CIRCUITS_AT_ONCE, offset=offset):
            yield from (json.dumps(row, default=repr) + "\n" for row in rows)
            offset += len(rows)

    # -- its steps

    def _organised(
        self, row: Row, manifest: Mapping[str, Any], workflow: Entity, action: Entity
    ) -> None:
        organised = self._new(
            f"#execution-{row['id']}", "OrganizeAction", name=f"Execution of {row['name']}",
            instrument=self._engine, result=action, **_times(row),
        )  # fmt: skip
        nodes = {int(node["node_id"]): node for node in self._store.get_nodes(row["id"])}
        sources: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        for source, target, label in self._store.get_edges(row["id"]):
            sources[target].append((source, label))
        for number, node in nodes.items():
            if node["kind"] in ("electron", "sublattice"):
                inputs = [(nodes[source], label) for source, label in sources[number]]
                organised.append_to("object", self._step(node, inputs, manifest, workflow))

    def _step(
        self,
        node: Row,
        inputs: list[tuple[Row, str]],
        manifest: Mapping[str, Any],
        workflow: Entity,
    ) -> Entity:
        key = f"{node['dispatch_id']}-{node['node_id']}"
        if node["sub_dispatch_id"] is not None:
            tool, action = self._dispatch(self._store.get_dispatch(node["sub_dispatch_id"]))
        else:
            tool = self._tool(manifest, node)
            action = self._action(f"#run-{key}", node, tool)
        for source, label in inputs:
            action.append_to("object", self._output(source, label))
        if node["value_repr"] is not None:
            action.append_to("result", self._output(node, "value"))
        for stream in _STREAMS:
            if node[stream]:
                name = f"{stream} of {node['name']}"
                file = self._file(f"streams/{key}.{stream}.txt", node[stream], name, "text/plain")
                action.append_to("subjectOf", file)
        workflow.append_to("hasPart", tool)
        step = self._new(
            f"#step-{key}", "HowToStep", name=node["name"], position=str(node["node_id"]),
            workExample=tool,
        )  # fmt: skip
        workflow.append_to("step", step)
        name = f"Orchestration of {node['name']}"
        return self._new(
            f"#control-{key}", "ControlAction", name=name, instrument=step, object=action
        )

    def _tool(self, manifest: Mapping[str, Any], node: Row) -> Entity:
        described = manifest["nodes"][node["node_id"]]
        function = manifest["functions"][described["function"]]
        path = f"electrons/{function['digest'][:16]}.py"
        text = function["source"] or f"# {node['name']} has no source.\n"
        types = ("File", "SoftwareSourceCode", "SoftwareApplication")
        return self._file(path, text, node["name"], "text/x-python", types)

    def _output(self, node: Row, name: str) -> Entity:
        """The value of a node: the same entity for who makes it and who takes it."""
        key = f"{node['dispatch_id']}-{node['node_id']}"
        return self._value(f"#value-{key}", name, str(node["value_repr"]))

    # -- entities

    def _new(self, identifier: str, kind: str, /, **properties: Any) -> Entity:
        from rocrate.model.contextentity import ContextEntity

        place = self._crate.resolve_id(identifier)
        if place not in self._made:
            made = ContextEntity(self._crate, identifier, properties={"@type": kind, **properties})
            self._made[place] = self._crate.add(made)
        return self._made[place]

    def _action(self, identifier: str, row: Row, instrument: Entity) -> Entity:
        made = self._performed(identifier, row, instrument)
        self._crate.root_dataset.append_to("mentions", made)
        return made

    def _performed(self, identifier: str, row: Row, instrument: Entity) -> Entity:
        ended = {"COMPLETED": "Completed", "FAILED": "Failed", "CANCELLED": "Failed"}
        word = ended.get(row["status"], "Active" if row["started"] else "Potential")
        failed = {"error": row["error"] or row["status"].lower()} if word == "Failed" else {}
        return self._new(
            identifier, "CreateAction", name=f"Run of {row['name']}", instrument=instrument,
            description=f"{row['name']} ended as {row['status']}.", agent=self._agent,
            actionStatus=_OUTCOME.format(word=word), **_times(row), **failed,
        )  # fmt: skip

    def _formal(self, workflow: Entity, way: str, name: str) -> Entity:
        identifier = f"#{way}-{workflow.id}-{name}"
        made = self._new(identifier, "FormalParameter", name=name, additionalType="Text")
        workflow.append_to(way, made)
        return made

    def _value(self, identifier: str, name: str, text: str, formal: Entity = None) -> Entity:
        more = {} if formal is None else {"exampleOfWork": formal}
        return self._new(identifier, "PropertyValue", name=name, value=text, **more)

    def _file(
        self, path: str, text: str, name: str, kind: str, types: Sequence[str] = ("File",)
    ) -> Entity:
        if path in self._made:
            return self._made[path]
        properties: dict[str, Any] = {"@type": [*types], "name": name, "encodingFormat": kind}
        if "SoftwareSourceCode" in types:
            properties["version"] = address(text.encode())[:16]
        file = self._written(path, text)
        made = self._made[path] = self._crate.add_file(file, path, properties=properties)
        return made

    def _written(self, path: str, text: str) -> Path:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
        return file


def _times(row: Row) -> dict[str, str]:
    times = {"startTime": row["started"], "endTime": row["ended"]}
    return {name: _moment(moment) for name, moment in times.items() if moment is not None}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
