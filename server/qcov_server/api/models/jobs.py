"""Jobs at providers, as the REST interface tells them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from qcov_server.api.models.base import Answer


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
