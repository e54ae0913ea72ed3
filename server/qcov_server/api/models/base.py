"""What all answers and questions of the REST interface have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from qcov.classical.status import Status

#: Seconds since the epoch, UTC.
Moment = Annotated[float, Field(allow_inf_nan=False, description="Seconds since the epoch, UTC.")]

#: The names of `Status`, each once: it has Covalent's spellings besides.
StatusName = Literal[
    "NEW_OBJECT", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELING", "CANCELLED"
]

#: What is said of each order.
SORT = "A minus turns the order round; what has not begun, or not ended, stands last."


class Answer(BaseModel):
    """Keys that are not named here stay inside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Asked(BaseModel):
    """The query of a list. What is misspelt is refused: it would be ignored otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=50, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=2**31)
    status: list[StatusName] = Field(
        default=[], max_length=len(Status), description="May be given several times."
    )
    search: str | None = Field(default=None, max_length=200)


class EmptyRequest(BaseModel):
    """Nothing: `{}`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
