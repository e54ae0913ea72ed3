"""The jobs of a fake provider, and what it has charged for them."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qcov.qexecutors.fakeqpu import machine
from qcov.qexecutors.fakeqpu.conditions import Conditions


class TooMany(Exception):
    """More jobs than may wait."""


class Offline(Exception):
    """The device takes no jobs."""


@dataclass(slots=True)
class FakeJob:
    """A job at the fake provider."""

    id: str
    token: str
    programs: Sequence[Mapping[str, Any]]
    starts: float
    ends: float
    will_fail: bool
    cancelled: bool = False
    results: list[dict[str, Any]] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def shots(self) -> int:
        """Of all programs."""
        return sum(int(program["shots"]) for program in self.programs)


class FakeJobs:
    """All jobs of one provider. Threads may use it."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.chance = random.Random(conditions.seed)
        self._draw = np.random.default_rng(conditions.seed)
        self._lock = threading.Lock()
        self._jobs: dict[str, FakeJob] = {}
        self._by_token: dict[str, str] = {}
        self._frozen: float | None = None  #: since when the device is offline

    def submit(self, token: str, programs: Sequence[Mapping[str, Any]]) -> FakeJob:
        """Take a job.

        Raises:
            TooMany, Offline, machine.RefusedProgram: It is not taken.
        """
        conditions = self.conditions
        with self._lock:
            known = self._by_token.get(token)
            if known is not None and conditions.idempotent:
                return self._jobs[known]
            if conditions.offline:
                raise Offline
            if sum(not self._over(job) for job in self._jobs.values()) >= conditions.max_pending:
                raise TooMany
            if not programs or len(programs) > conditions.max_programs:
                raise machine.RefusedProgram(f"a job has 1 to {conditions.max_programs} programs")
            for program in programs:
                machine.check(program, conditions)
            job = self._new(token, programs)
            self._jobs[job.id] = job
            self._by_token.setdefault(token, job.id)
            return job

    def _new(self, token: str, programs: Sequence[Mapping[str, Any]]) -> FakeJob:
        now = time.time()
        job = FakeJob(
            id=f"fake-{uuid.uuid4()}",  # a seed must not give two providers the same ids
            token=token,
            programs=list(programs),
            starts=now + self.conditions.queue_time,
            ends=0.0,
            will_fail=self.chance.random() < self.conditions.fail,
        )
        job.ends = job.starts + self.conditions.shot_time * job.shots
        return job

    def find(self, token: str) -> FakeJob | None:
        """The job with a token."""
        with self._lock:
            known = self._by_token.get(token)
            return None if known is None else self._jobs[known]

    def get(self, job_id: str) -> FakeJob | None:
        """The job with an id."""
        with self._lock:
            return self._jobs.get(job_id)

    def view(self, job: FakeJob) -> dict[str, Any]:
        """How a job stands, as the provider tells it."""
        state = self.state(job)
        error = "the fridge was warm" if state == "FAILED" else None
        return {"id": job.id, "state": state, "error": error, "usd": self.charged([job])}

    def state(self, job: FakeJob) -> str:
        """How a job stands."""
        if job.cancelled:
            return "CANCELLED"
        now = self._time()
        if now < job.starts:
            return "QUEUED"
        if now < job.ends:
            return "RUNNING"
        return "FAILED" if job.will_fail else "COMPLETED"

    def cancel(self, job: FakeJob) -> str:
        """Cancel a job that has not ended; how it stands then."""
        with self._lock:
            if not self._over(job):
                job.cancelled = True
            return self.state(job)

    def results(self, job: FakeJob) -> list[dict[str, Any]]:
        """What a job that has completed gave: each result with the key of its program."""
        with job.lock:
            if job.results is None:
                job.results = [
                    {
                        "number": number,
                        "key": program["key"],
                        "bits": machine.run(program, self.conditions, job.ends, self._draws()),
                    }
                    for number, program in enumerate(job.programs)
                ]
            return list(job.results)

    def set_offline(self, offline: bool) -> None:
        """Let the device go offline, or come back: what waits, waits meanwhile."""
        with self._lock:
            now = time.time()
            if offline and self._frozen is None:
                self._frozen = now
            elif not offline and self._frozen is not None:
                for job in self._jobs.values():
                    if job.ends > self._frozen:
                        job.starts += now - self._frozen
                        job.ends += now - self._frozen
                self._frozen = None
            self.conditions.offline = offline

    def ledger(self) -> dict[str, Any]:
        """How many jobs there are, how many ran, and what was charged."""
        with self._lock:
            jobs = list(self._jobs.values())
        ran = [job for job in jobs if not (job.cancelled or job.will_fail)]
        programs = [program["key"] for job in ran for program in job.programs]
        return {
            "jobs": len(jobs),
            "paid_jobs": len(ran),
            "programs": len(programs),
            "different_programs": len(set(programs)),
            "shots": sum(job.shots for job in ran),
            "usd": self.charged(ran),
        }

    def charged(self, jobs: Iterable[FakeJob]) -> float:
        """What jobs have cost, in US dollars; one that was cancelled or failed costs nothing."""
        conditions = self.conditions
        return sum(
            conditions.usd_per_task + conditions.usd_per_shot * job.shots
            for job in jobs
            if not (job.cancelled or job.will_fail)
        )

    def _draws(self) -> np.random.Generator:
        with self._lock:
            return self._draw.spawn(1)[0]

    def _over(self, job: FakeJob) -> bool:
        return job.cancelled or self._time() >= job.ends

    def _time(self) -> float:
        return time.time() if self._frozen is None else self._frozen
