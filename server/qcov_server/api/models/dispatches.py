"""Dispatches, as the REST interface tells and takes them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from qcov_server.api.models.base import SORT, Answer, Asked, Moment


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
    ] = Field(default="-created", description=SORT)  # fmt: skip


class DispatchPage(Answer):
    """A window of the dispatches, newest first."""

    items: list[Dispatch]
    total: int
    limit: int
    offset: int


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
    #: The trigger fires by itself, which it does no more once it was stopped.
    watching: StrictBool = False
    #: Take over what the earlier run has computed.
    reuse: StrictBool = False


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
