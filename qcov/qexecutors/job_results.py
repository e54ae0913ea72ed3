"""What is said of circuits that ran as jobs: where, at what cost, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qcov.qexecutors.base import CircuitResult
from qcov.qexecutors.job_run import estimated
from qcov.qexecutors.job_terms import Part
from qcov.qexecutors.provider import Program, Provider, Translation


def told(
    values: Sequence[Any], translation: Translation, jobs: Sequence[Part], provider: Provider
) -> list[CircuitResult]:
    """Values of circuits together with what is known of their jobs."""
    bill = _Bill(translation.programs, jobs, provider)
    own = _programs_of(len(values), translation)
    return [bill.told(value, numbers) for value, numbers in zip(values, own, strict=True)]


def _programs_of(circuits: int, translation: Translation) -> list[list[int]]:
    """For each circuit, the numbers of its programs; nobody's where there is no telling."""
    own: list[list[int]] = [[] for _ in range(circuits)]
    owners = translation.owners
    if owners is None and len(translation.programs) == circuits:
        owners = range(circuits)
    for number, owner in enumerate(owners or ()):
        own[owner].append(number)
    return own


class _Bill:
    """Who pays for which part of which job."""

    def __init__(
        self, programs: Sequence[Program], jobs: Sequence[Part], provider: Provider
    ) -> None:
        self._programs, self._provider = programs, provider
        self._job_of = {number: job for job in jobs for number in job.wanted.values()}
        self._prices = {job.token: _price_of_a_shot(job, provider) for job in jobs}

    def told(self, value: Any, numbers: Iterable[int]) -> CircuitResult:
        """A circuit's value, with what is known of its programs, which have these numbers."""
        submitted = [number for number in numbers if number in self._job_of]
        jobs = {self._job_of[number].token: self._job_of[number] for number in submitted}
        metadata: dict[str, Any] = {"provider": self._provider.name}
        for job in jobs.values():
            metadata |= {**job.metadata, "timing": job.timing}
        seconds = [job.timing["run"] for job in jobs.values() if "run" in job.timing]
        return CircuitResult(
            value=value,
            execution_time=sum(seconds) if seconds else None,
            backend=self._provider.device,
            job_id=", ".join(job.name for job in jobs.values()) or None,
            cost=self._cost(submitted) or None,
            metadata=metadata,
        )

    def _cost(self, numbers: Iterable[int]) -> dict[str, float]:
        cost: dict[str, float] = {}
        for number in numbers:
            weight = _weight(self._programs[number])
            for unit, amount in self._prices[self._job_of[number].token].items():
                cost[unit] = cost.get(unit, 0.0) + amount * weight
        return cost


def _price_of_a_shot(job: Part, provider: Provider) -> Mapping[str, float]:
    """What each shot of a job has cost: what it has used, or else the estimate, is shared."""
    amounts = estimated(provider, job.programs) if job.amounts is None else job.amounts
    shots = sum(map(_weight, job.programs))
    return {unit: amount / shots for unit, amount in amounts.items()}


def _weight(program: Program) -> int:
    return program.shots or 1  # analytic ones count alike
