"""`RemoteQExecutor`: what all executors have in common that run circuits as jobs of a provider."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from pydantic import PrivateAttr, ValidationInfo, field_validator

from qcov.budget import Budget, Unit, paying
from qcov.errors import ExecutorOffline
from qcov.job_entries import JobEntry
from qcov.journal import Journal
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, seconds
from qcov.qexecutors.connection import Connection
from qcov.qexecutors.job_results import told
from qcov.qexecutors.job_run import JobRun, estimated
from qcov.qexecutors.job_terms import Terms
from qcov.qexecutors.kept_runs import keep_run, kept_programs
from qcov.qexecutors.provider import Provider, Translation
from qcov.qexecutors.splitting import parts


class RemoteQExecutor(BaseQExecutor):
    """Runs circuits as jobs of a provider. A subclass gives the provider in `_connect`.

    Jobs are written down in a journal before they are submitted: an electron that runs again, after
    a crash for example, goes on with the jobs that it had, and nothing is paid for twice.

    Args:
        budget: What its circuits may cost together; see `qcov.Budget`.
        poll_interval: Seconds between two looks at jobs, at most.
        patience: Seconds that the provider may be out of reach while its jobs are waited for.
        resubmit_unknown: Whether to submit again what may have been submitted, where nobody can
            tell. It may then be paid for twice.
    """

    retries: int = 3
    budget: Budget | None = None
    poll_interval: float = 2.0
    patience: float = 900.0
    resubmit_unknown: bool = False

    _connection: Connection = PrivateAttr(default_factory=Connection)

    @field_validator("poll_interval", "patience", mode="before")
    @classmethod
    def _is_a_duration(cls, value: object, info: ValidationInfo) -> float:
        return seconds(value, cls, str(info.field_name))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in type(self).model_fields and name not in RemoteQExecutor.model_fields:
            self._connection = Connection()  # the one that stands was made for the old value

    @abstractmethod
    def _connect(self) -> Provider:
        """The provider, by the settings that the executor has now."""

    @property
    def watched_limit(self) -> float | None:
        """None: at its time limit it cancels jobs itself."""
        return None

    @property
    def provider(self) -> Provider:
        """The provider, connected on first use."""
        return self._connection.get(self._connect)

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Run all circuits of `batch`, in as few jobs as the provider takes."""
        return self._run(batch)

    @property
    def device_name(self) -> str | None:
        """The provider's device."""
        return self.provider.device

    @property
    def prices(self) -> str | None:
        """What the provider's estimates are made from."""
        return self.provider.prices

    def queue_depth(self) -> int | None:
        """How many jobs wait for the device; `ExecutorOffline` if it runs none now."""
        provider = self.provider
        if not provider.online():
            reason = f"{provider.device} runs no jobs now"
            raise ExecutorOffline(executor=self.name, reason=reason)
        return provider.queue_depth()

    def estimate_batch(self, batch: CircuitBatch) -> list[dict[str, float]]:
        """What the jobs of a batch would cost at most, each by unit."""
        provider = self.provider
        programs = provider.translate(batch).programs
        return [
            estimated(provider, [programs[number] for number in part])
            for part in parts(programs, provider.limits)
        ]

    def estimate_cost(self, circuit: Circuit) -> float | None:
        """What `circuit` will cost by itself, in US dollars; None if that is not known."""
        jobs = self.estimate_batch(CircuitBatch(circuits=(circuit,)))
        costs = [job.get(Unit.USD) for job in jobs]
        return None if None in costs else sum(cast("list[float]", costs))

    def terms(self, batch: CircuitBatch) -> Terms:
        """On which terms a batch runs."""
        own = () if self.budget is None else (self.budget,)
        return Terms(
            executor=self.name,
            longest_pause=self.poll_interval,
            patience=self.patience,
            time_limit=self.time_limit,
            others=batch.others,
            resubmit_unknown=self.resubmit_unknown,
            prices=self.prices,
            budgets=tuple(dict.fromkeys((*own, *batch.budgets, *paying()))),
        )

    def results_again(self, batch: CircuitBatch, entry: JobEntry) -> Sequence[Any]:
        """Wait for the jobs that a batch had in an earlier run; nothing is submitted.

        Args:
            batch: The circuits.
            entry: One of the jobs.
        """
        return self._run(batch, entry)

    def _run(self, batch: CircuitBatch, again: JobEntry | None = None) -> Sequence[Any]:
        provider = self.provider
        translation = provider.translate(batch)
        run = self._job_run(provider, translation, batch, again)
        return told(translation.read(run.results()), translation, run.parts, provider)

    def _job_run(
        self,
        provider: Provider,
        translation: Translation,
        batch: CircuitBatch,
        again: JobEntry | None,
    ) -> JobRun:
        journal = Journal()
        return JobRun(
            provider,
            translation,
            self.terms(batch),
            classify=self.classify,
            journal=journal,
            keep=partial(keep_run, journal, self, batch),
            programs_of=partial(kept_programs, journal),
            again=again,
            pace=self._connection.pace(provider.limits.per_second),
        )
