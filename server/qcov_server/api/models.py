"""What the REST interface answers; the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from qcov.classical.graph import Kind
from qcov.classical.status import Status
from qcov_server.api.depth import shallow

#: Seconds since the epoch, UTC.
Moment = Annotated[float, Field(allow_inf_nan=False, description="Seconds since the epoch, UTC.")]

#: The names of `Status`, each once: it has Covalent's spellings besides.
StatusName = Literal[
    "NEW_OBJECT", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELING", "CANCELLED"
]

_SORT = "A minus turns the order round; what has not begun, or not ended, stands last."


class Answer(BaseModel):
    """Keys that are not named here stay inside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Dispatch(Answer):
    """One run of a lattice. Times are seconds since the epoch, UTC."""

    id: str
    name: str
    status: str
    root_id: str
    parent_id: str | None = None
    created: float
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    inputs_repr: str = Field(description="The arguments as text: JSON with `args` and `kwargs`.")
    result_repr: str | None = None
    nodes_total: int
    nodes_done: int


class Asked(BaseModel):
    """The query of a list. What is misspelt is refused: it would be ignored otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=50, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=2**31)
    status: list[StatusName] = Field(
        default=[], max_length=len(Status), description="May be given several times."
    )
    search: str | None = Field(default=None, max_length=200)


class DispatchQuery(Asked):
    """Which dispatches, in which order."""

    search: str | None = Field(
        default=None, max_length=200, description="Part of the name, or how the id begins."
    )
    created_after: Moment | None = None
    created_before: Moment | None = None
    sort: Literal[
        "created", "-created", "name", "-name", "status", "-status", "started", "-started",
        "ended", "-ended", "duration", "-duration",
    ] = Field(default="-created", description=_SORT)  # fmt: skip


class NodeQuery(Asked):
    """Which nodes, in which order."""

    limit: int = Field(default=100, ge=1, le=1000)
    node_id: int | None = Field(default=None, ge=0, le=2**31)
    kind: Kind | None = None
    search: str | None = Field(default=None, max_length=200, description="Part of the name.")
    sort: Literal[
        "node_id", "-node_id", "name", "-name", "status", "-status", "started", "-started",
        "ended", "-ended", "duration", "-duration",
    ] = Field(default="node_id", description=_SORT)  # fmt: skip


class DispatchPage(Answer):
    """A window of the dispatches, newest first."""

    items: list[Dispatch]
    total: int
    limit: int
    offset: int


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


class CircuitQuery(BaseModel):
    """Which circuits, in which order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=100, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=2**31)
    node_id: int | None = Field(default=None, ge=0, le=2**31 - 1)
    executor: str | None = Field(default=None, max_length=200)
    status: Literal["COMPLETED", "FAILED"] | None = None
    sort: Literal["time", "-time", "duration", "-duration"] = Field(
        default="time", description=_SORT
    )
    after: str | None = Field(
        default=None, max_length=64, description="What `next` of the window before said."
    )

    @property
    def plain(self) -> bool:
        """Whether nothing is asked for that needs an index of its own."""
        return (self.executor, self.status, self.after, self.sort) == (None, None, None, "time")


class CircuitPage(Answer):
    """A window of the circuits."""

    items: list[dict[str, Any]]
    limit: int
    offset: int
    total: int | None = Field(default=None, description="Of a list that is filtered or sorted.")
    next: str | None = Field(default=None, description="Where the next window begins.")


class WholeCircuit(Answer):
    """All that is known of one circuit. Views are null where circuits are not persisted."""

    record: dict[str, Any]
    drawing: str | None
    openqasm: str | None = Field(description="2.0; null too if a gate has no name there.")
    specs: dict[str, Any] | None


class CircuitSummary(Answer):
    """What one executor ran."""

    executor: str
    device: str | None = None
    circuits: int
    seconds: float | None = None


class Progress(Answer):
    """How far a dispatch is; electrons of sublattices count too."""

    seq: int
    status: str
    done: int
    total: int


class Submitted(Answer):
    """A dispatch that is stored."""

    id: str


class Waited(Answer):
    """How a dispatch stands after waiting."""

    id: str
    status: str
    finished: bool
    dispatch: Dispatch | None = None


class StartRequest(BaseModel):
    """Nothing more is asked: `{}`. What changes anything has to send JSON, as no form can."""

    model_config = ConfigDict(extra="forbid")


class RerunRequest(BaseModel):
    """How the new dispatch is called; the same request sent twice makes one."""

    model_config = ConfigDict(extra="forbid")

    new_id: UUID
    trigger_id: UUID | None = None
    #: Take over what the earlier run has computed.
    reuse: StrictBool = False


class Trigger(Answer):
    """What runs a dispatch again whenever something happens."""

    id: str
    dispatch_id: str
    name: str
    status: str = Field(description="ACTIVE, STOPPED or FAILED.")
    error: str | None = None
    created: float
    runs: int = Field(description="How many dispatches it has started, removed ones left out.")
    last_run: float | None = None


class TriggerPage(Answer):
    """A window of the triggers, newest first."""

    items: list[Trigger]
    total: int
    limit: int
    offset: int


class RegisterRequest(BaseModel):
    """A trigger."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    dispatch_id: str = Field(max_length=36)
    name: str = Field(max_length=200)
    object: str = Field(description="The trigger as base64 text.")
    environment: Annotated[dict[str, Any], AfterValidator(shallow)]
    elsewhere: bool = Field(description="Whether another server has the dispatch.")


class StopRequest(BaseModel):
    """The dispatches whose triggers are to end."""

    model_config = ConfigDict(extra="forbid")

    dispatch_ids: list[str] = Field(max_length=10_000)


class FiredRequest(BaseModel):
    """A dispatch that a trigger has started on another server."""

    model_config = ConfigDict(extra="forbid")

    id: UUID


class TriggerRun(Answer):
    """A dispatch that a trigger has started, and when."""

    dispatch_id: str
    created: float


class TriggerRunPage(Answer):
    """A window of what a trigger has started, oldest first."""

    items: list[TriggerRun]
    total: int
    limit: int
    offset: int


class CancelRequest(BaseModel):
    """What to cancel: everything, or some nodes."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{}, {"node_ids": [0, 3]}]}
    )

    node_ids: list[StrictInt] | None = Field(
        default=None, max_length=100_000, description="Numbers of nodes; all by default."
    )


class Cancelled(Answer):
    """What the cancellation did."""

    id: str
    outcome: str


class Charge(Answer):
    """What a job has cost in one unit."""

    unit: str
    estimate: float = Field(description="What it may cost at most, as far as is known.")
    actual: float | None = Field(default=None, description="Null until it is settled.")


class Job(Answer):
    """A job at a provider."""

    token: str
    job_id: str | None = Field(default=None, description="The provider's id, once there is one.")
    state: str
    open: bool = Field(description="Whether it may still run.")
    provider: str
    device: str
    dispatch_id: str | None = None
    node_id: int | None = None
    programs: int = Field(description="How many circuits it has.")
    shots: int
    created: float
    submitted: float | None = None
    ended: float | None = None
    error: str | None = None
    charges: list[Charge]


class JobPage(Answer):
    """A window of the jobs, newest first."""

    items: list[Job]
    total: int
    limit: int
    offset: int


class EmptyRequest(BaseModel):
    """Nothing: `{}`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})


class ResolveRequest(BaseModel):
    """The id that the provider has given the job, or that it never had it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"never": True}]})

    job_id: str | None = Field(default=None, max_length=256, pattern=r"^[A-Za-z0-9][\w:./+=-]*$")
    never: StrictBool = False


class JobsTold(Answer):
    """What was done about jobs."""

    told: str


class JobTold(Answer):
    """What was done about a job, and how it stands then."""

    told: str
    job: Job


class ServerStatus(Answer):
    """The server."""

    version: str
    pid: int
    python: str
    event_streams: int = Field(description="How many event streams are open.")
