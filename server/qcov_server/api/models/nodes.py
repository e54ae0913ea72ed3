"""Nodes and graphs, as the REST interface tells them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from qcov.classical.graph import Kind
from qcov_server.api.models.base import SORT, Answer, Asked


class Node(Answer):
    """A vertex of a dispatch's graph."""

    node_id: int
    name: str
    kind: str
    status: str
    executor: str | None = None
    attempt: int = 0
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    output: str | None = Field(default=None, description="The SHA-256 of its payload.")
    value_repr: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    sub_dispatch_id: str | None = None
    reused_from: str | None = Field(
        default=None, description="The dispatch that has computed its output; this one by default."
    )


class NodeQuery(Asked):
    """Which nodes, in which order."""

    limit: int = Field(default=100, ge=1, le=1000)
    node_id: int | None = Field(default=None, ge=0, le=2**31)
    kind: Kind | None = None
    search: str | None = Field(default=None, max_length=200, description="Part of the name.")
    sort: Literal[
        "node_id", "-node_id", "name", "-name", "status", "-status", "started", "-started",
        "ended", "-ended", "duration", "-duration",
    ] = Field(default="node_id", description=SORT)  # fmt: skip


class NodeAttempt(Answer):
    """A try of a node that failed and was followed by another one."""

    attempt: int = Field(description="1 for the first.")
    started: float | None = None
    ended: float | None = None
    error: str | None = None


class NodeInput(Answer):
    """Where one of a node's arguments comes from."""

    argument: str
    node_id: int
    name: str
    kind: str
    status: str
    value_repr: str | None = None


class NodeStep(Answer):
    """What is called before or after an electron's function."""

    when: str = Field(description="before or after.")
    kind: str
    label: str
    keyword: str = Field(description="The argument that gets what it returns; may be empty.")


class WholeNode(Node):
    """All that is known of one node."""

    attempts: list[NodeAttempt]
    source: str | None = Field(description="The code of its function.")
    settings: dict[str, Any] = Field(description="Its executor's; secrets are hidden.")
    retries: int = 0
    retry_delay: float = 0.0
    time_limit: float | None = None
    packages: list[str]
    steps: list[NodeStep]
    inputs: list[NodeInput] = Field(description="200 at most.")
    inputs_left_out: int = 0
    size: int | None = Field(default=None, description="Of its payload, in bytes.")


class NodePage(Answer):
    """A window of the nodes, by their number."""

    items: list[Node]
    total: int
    limit: int
    offset: int


class PlacedNode(Answer):
    """A node and where it is drawn."""

    id: int
    name: str
    label: str  #: what the drawing says
    kind: str
    status: str
    sub_dispatch_id: str | None = None
    x: float
    y: float


class Edge(Answer):
    """One node's value used by another."""

    source: int
    target: int
    label: str


class Graph(Answer):
    """A dispatch's graph, laid out."""

    nodes: list[PlacedNode]
    edges: list[Edge]


class StreamsQuery(BaseModel):
    """From where on streams are told, and for how many seconds something new is waited for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(default="", max_length=32, description="As it was answered before.")
    stdout: int = Field(default=0, ge=0, le=2**53)
    stderr: int = Field(default=0, ge=0, le=2**53)
    timeout: float = Field(default=0.0, ge=0, le=30)


class StreamPart(Answer):
    """A part of what a node has printed; escape sequences are left out of it."""

    model_config = ConfigDict(extra="ignore", frozen=True, from_attributes=True)

    start: int = Field(description="Later than was asked for if what is between was left out.")
    end: int = Field(description="Where the next part begins.")
    text: str


class Streams(Answer):
    """What a node has printed since somebody looked last."""

    source: str = Field(description="What `start` and `end` count in: ask for more of the same.")
    status: str
    stdout: StreamPart
    stderr: StreamPart
