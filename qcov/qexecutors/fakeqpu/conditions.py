"""What a fake provider is like: how slow, how unreliable, how noisy, at which price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qcov.errors import InvalidSetting, suggest


class Conditions(BaseModel):
    """What a fake provider is like. By default it is fast, reliable, free of noise, and costs.

    Args:
        qubits: How many the device has.
        latency: Seconds that each request takes.
        queue_time: Seconds that a job waits before it runs.
        shot_time: Seconds for each shot.
        queue_length: How many jobs of others it says that wait.
        usd_per_task: Price of a job, in US dollars.
        usd_per_shot: Price of a shot.
        max_programs: Circuits that it takes in one job.
        max_per_second: Requests that it answers; more are refused with 429.
        max_shots: Shots that it takes of one program.
        max_pending: Jobs that it lets wait or run at once; more are refused with 429.
        idempotent: Whether it gives the job that stands to who submits its token again.
        readout_error: Probability that a qubit is read wrongly.
        gate_error: Probability, for each gate on two qubits, that a shot ends up anywhere.
        drift: How much both change over time: 0.5 makes them go up and down by half.
        drift_time: Seconds of one such up and down.
        busy: Probability that a request is refused with 429.
        broken: Probability that a request gets 500.
        drop: Probability that a connection breaks before a request is heard.
        drop_after: Probability that it breaks after a request was heard, before its answer.
        fail: Probability that a job fails.
        swap: Probability that results come in another order.
        duplicate: Probability that a result comes twice.
        truncate: Probability that results are missing.
        offline: Whether the device is: jobs wait, and no new ones are taken.
        seed: Of all that is random.
    """

    model_config = ConfigDict(extra="forbid")

    qubits: int = Field(default=20, ge=1, le=26)
    latency: float = Field(default=0.0, ge=0)
    queue_time: float = Field(default=0.0, ge=0)
    shot_time: float = Field(default=0.0, ge=0)
    queue_length: int = Field(default=0, ge=0)
    usd_per_task: float = Field(default=0.3, ge=0)
    usd_per_shot: float = Field(default=0.00035, ge=0)
    max_programs: int = Field(default=100, ge=1)
    max_per_second: float | None = Field(default=None, gt=0)
    max_shots: int = Field(default=1_000_000, ge=1)
    max_pending: int = Field(default=100, ge=1)
    idempotent: bool = True
    readout_error: float = Field(default=0.0, ge=0, le=0.5)
    gate_error: float = Field(default=0.0, ge=0, le=1)
    drift: float = Field(default=0.0, ge=0, le=1)
    drift_time: float = Field(default=3600.0, gt=0)
    busy: float = Field(default=0.0, ge=0, le=1)
    broken: float = Field(default=0.0, ge=0, le=1)
    drop: float = Field(default=0.0, ge=0, le=1)
    drop_after: float = Field(default=0.0, ge=0, le=1)
    fail: float = Field(default=0.0, ge=0, le=1)
    swap: float = Field(default=0.0, ge=0, le=1)
    duplicate: float = Field(default=0.0, ge=0, le=1)
    truncate: float = Field(default=0.0, ge=0, le=1)
    offline: bool = False
    seed: int | None = None

    @classmethod
    def made_of(cls, settings: Mapping[str, Any], others: Iterable[str] = ()) -> Conditions:
        """Conditions from settings; `InvalidSetting` for what is none.

        Args:
            settings: Conditions by name.
            others: What else could have been meant by a wrong name.
        """
        for name in settings.keys() - cls.model_fields.keys():
            reason = f"is not a setting. {suggest(name, [*cls.model_fields, *others])}"
            raise InvalidSetting(executor="FakeQPU", setting=repr(name), reason=reason)
        try:
            return cls(**settings)
        except ValidationError as error:
            problem = error.errors()[0]
            setting = ".".join(map(str, problem["loc"]))
            reason = f"{problem['msg'].removeprefix('Input ')}, not {problem['input']!r}"
            raise InvalidSetting(executor="FakeQPU", setting=setting, reason=reason) from None
