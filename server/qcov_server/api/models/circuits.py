"""Circuits, as the REST interface tells them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from qcov_server.api.models.base import SORT, Answer


class CircuitQuery(BaseModel):
    """Which circuits, in which order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=100, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=2**31)
    node_id: int | None = Field(default=None, ge=0, le=2**31 - 1)
    executor: str | None = Field(default=None, max_length=200)
    status: Literal["COMPLETED", "FAILED"] | None = None
    sort: Literal["time", "-time", "duration", "-duration"] = Field(
        default="time", description=SORT
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
