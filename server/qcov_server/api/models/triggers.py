"""Triggers, as the REST interface tells and takes them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from qcov_server.api.depth import shallow
from qcov_server.api.models.base import Answer


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
