"""What came of a dispatch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qcov.classical.engine.address import Engine, engine_at
from qcov.classical.engine.channel import Message
from qcov.classical.graph import Kind, assembled
from qcov.classical.status import Status
from qcov.errors import DispatchFailed, NodeNotFound
from qcov.transport import TransportableObject, loads, verify

if TYPE_CHECKING:
    from qcov.classical.lattice import Lattice
    from qcov.records import CircuitRecord


_NODES_SHOWN = 200  #: in a notebook, constants among them


class Result:
    """A dispatch as it stood when it was asked for; large parts are fetched when they are read.

    Printing it shows status, result, inputs, times and the outputs of all nodes.
    """

    NEW_OBJ = Status.NEW_OBJ
    NEW_OBJECT = Status.NEW_OBJECT
    PENDING = Status.PENDING
    RUNNING = Status.RUNNING
    COMPLETED = Status.COMPLETED
    FAILED = Status.FAILED
    CANCELING = Status.CANCELING
    CANCELED = Status.CANCELED
    CANCELLED = Status.CANCELLED

    def __init__(self, row: Message, engine: Engine, result: Message | None = None) -> None:
        self._row = row
        self._engine = engine
        self._sent = result  # the result's payload, if it came along

    @classmethod
    def fetch(cls, dispatch_id: str, engine: Engine) -> Result:
        """Ask an engine for a dispatch."""
        return cls(engine.call("dispatch", dispatch_id=dispatch_id), engine)

    # -- the dispatch

    @property
    def dispatch_id(self) -> str:
        """The dispatch's id."""
        return self._row["id"]

    @property
    def root_dispatch_id(self) -> str:
        """The id of the dispatch that this one is a sublattice of, at the top; its own id there."""
        return self._row["root_id"]

    @property
    def status(self) -> Status:
        """Its state."""
        return Status(self._row["status"])

    @property
    def error(self) -> str | None:
        """Which electrons failed and why, a line each; None if none did."""
        return self._row["error"]

    @property
    def start_time(self) -> datetime | None:
        """When it began, UTC."""
        return _time(self._row["started"])

    @property
    def end_time(self) -> datetime | None:
        """When it ended, UTC."""
        return _time(self._row["ended"])

    @property
    def results_dir(self) -> str:
        """Where its engine keeps it: a data folder, or a server's address."""
        return self._engine.name

    @property
    def result(self) -> Any:
        """What the lattice returned; None until the dispatch has completed."""
        sent = self.encoded_result
        return None if sent is None else sent.get_deserialized()

    @property
    def encoded_result(self) -> TransportableObject | None:
        """The result as it travels."""
        return self._payload("result", self._row["result_repr"])

    @property
    def inputs(self) -> dict[str, Any]:
        """The lattice's arguments: `args`, a list, and `kwargs`, a dict."""
        sent = self._payload("inputs", None)
        given: dict[str, Any] = sent.get_deserialized() if sent else {"args": (), "kwargs": {}}
        return {"args": list(given["args"]), "kwargs": given["kwargs"]}

    @property
    def lattice(self) -> Lattice:
        """The lattice that was dispatched."""
        sent = self._payload("lattice", None)
        assert sent is not None
        return sent.get_deserialized()

    def post_process(self) -> Any:
        """What the lattice returns, put together here from the values of its electrons.

        The lattice's function is called for that, to see what it does with them. For a dispatch
        whose result could not be put together where it ran.

        Raises:
            DispatchFailed: an electron whose value is needed has none.
        """
        inputs = self.inputs
        graph = self.lattice.graph(*inputs["args"], **inputs["kwargs"])
        return assembled(graph.result, lambda digest: loads(graph.blobs[digest]), self._value_of)

    def _value_of(self, node_id: int) -> Any:
        output = self.get_node_result(node_id)["output"]
        if output is None:
            error = "; ".join(filter(None, [f"node {node_id} has no value", self.error]))
            raise DispatchFailed(dispatch_id=self.dispatch_id, status=self.status, error=error)
        return output.get_deserialized()

    # -- its nodes

    def get_node_result(self, node_id: int) -> dict[str, Any]:
        """All about one node.

        Returns:
            `node_id`, `node_name`, `start_time`, `end_time`, `status`, `output` (a
            `TransportableObject` that equals the value it carries, which is fetched when it is
            read; None without one), `error`, `sublattice_result` (a `Result` or None), `stdout`,
            `stderr`, `qelectron` (the records of the circuits that it ran) and `reused_from`, the
            id of the dispatch that has computed the output; None where this one has.

        Raises:
            NodeNotFound: the dispatch has no such node; a LookupError.
        """
        rows = self._engine.call("nodes", dispatch_id=self.dispatch_id, node_id=node_id)
        if not rows:
            raise NodeNotFound(dispatch_id=self.dispatch_id, node_id=node_id)
        return self._node(rows[0])

    def get_all_node_results(self) -> list[dict[str, Any]]:
        """`get_node_result` of every node."""
        return [self._node(row) for row in self._nodes()]

    def get_all_node_outputs(self) -> dict[str, TransportableObject | None]:
        """The output of every node, by `name(id)`."""
        return {f"{row['name']}({row['node_id']})": self._output(row) for row in self._nodes()}

    def circuits(self, node_id: int | None = None) -> list[CircuitRecord]:
        """The circuits that the dispatch, or one of its nodes, has run."""
        from qcov.records import CircuitRecord

        rows = self._engine.call("circuits", dispatch_id=self.dispatch_id, node_id=node_id)
        return [CircuitRecord.from_dict(row) for row in rows]

    def circuit_summary(self) -> list[dict[str, Any]]:
        """How many circuits ran on which executor, and for how many seconds, sublattices included.

        Returns:
            Per executor and device: `executor`, `device`, `circuits`, `seconds`.
        """
        return self._engine.call("circuit_summary", dispatch_id=self.dispatch_id)

    def _nodes(self) -> list[Message]:
        return self._engine.call("nodes", dispatch_id=self.dispatch_id)

    def _node(self, row: Message) -> dict[str, Any]:
        child = row["sub_dispatch_id"]
        return {
            "node_id": row["node_id"],
            "node_name": row["name"],
            "start_time": _time(row["started"]),
            "end_time": _time(row["ended"]),
            "status": Status(row["status"]),
            "output": self._output(row),
            "error": row["error"],
            "sublattice_result": None if child is None else Result.fetch(child, self._engine),
            "stdout": row["stdout"] or "",
            "stderr": row["stderr"] or "",
            "qelectron": self.circuits(row["node_id"]),
            "reused_from": row["reused_from"],
        }

    def _output(self, row: Message) -> TransportableObject | None:
        if row["output"] is None and row["kind"] != Kind.PARAMETER:
            return None
        if row["output"] is None:
            return self._payload(row["node_id"], row["value_repr"])
        node, text = row["node_id"], row["value_repr"] or ""
        return TransportableObject.from_source(lambda: self._blob(node), text)

    def _blob(self, node_id: int) -> bytes:
        found = self._payload(node_id, None)
        if found is None:
            raise NodeNotFound(dispatch_id=self.dispatch_id, node_id=node_id)
        return found.serialize()

    def _payload(self, of: str | int, text: str | None) -> TransportableObject | None:
        found = self._sent if of == "result" else None
        found = found or self._engine.call("payload", dispatch_id=self.dispatch_id, of=of)
        if found is None:
            return None
        data = found["data"]
        blob = self._engine.blob(found["digest"]) if data is None else data
        verify(blob, found["digest"])
        return TransportableObject.from_blob(blob, text or "")

    # -- for people

    def __str__(self) -> str:
        shown = json.loads(self._row["inputs_repr"])
        outputs = "\n".join(
            f"{row['name']}({row['node_id']}): {_shown(row)}"
            for row in self._nodes()
            if row["kind"] != Kind.COLLECTION
        )
        return f"""Lattice Result
==============
status: {self.status}
result: {self._row["result_repr"]}
input args: {shown["args"]}
input kwargs: {shown["kwargs"]}
error: {self.error}

start_time: {self.start_time}
end_time: {self.end_time}

results_dir: {self.results_dir}
dispatch_id: {self.dispatch_id}

Node Outputs
------------
{outputs}
"""

    def __repr__(self) -> str:
        return f"<Result of {self._row['name']} {self.dispatch_id}: {self.status}>"

    def _repr_html_(self) -> str:
        """A notebook's view: escaped, without scripts."""
        from qcov.classical.notebook import result_html

        nodes = self._engine.call("nodes", dispatch_id=self.dispatch_id, limit=_NODES_SHOWN)
        return result_html(self._row, nodes, self.circuit_summary())

    def __reduce__(self) -> tuple[Any, ...]:
        address = self.results_dir if self.results_dir.startswith("http") else None
        return _restore, (self._row, address)


def _shown(row: Message) -> str:
    """A node's value, or the state that it is in without one."""
    return row["value_repr"] if row["status"] == Status.COMPLETED else row["status"]


def _restore(row: Message, address: str | None) -> Result:
    return Result(row, engine_at(address))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
