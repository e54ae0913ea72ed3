"""Jobs at providers, by qcov's journal: which there are, what came of them, how to end them.

An electron that runs again finds its jobs by itself. A script or a notebook that was ended does
not: its jobs are attached here, by their ids.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from qcov.errors import JobLost, QcovError, WrongSetting
from qcov.job_entries import JobEntry, State
from qcov.journal import Journal
from qcov.qexecutors.kept_runs import KeptRun, kept_run
from qcov.qexecutors.provider import JobState
from qcov.records import error_text

__all__ = ["attach", "cancel", "list_jobs", "refresh", "resolve"]


def list_jobs(
    *, only_open: bool = False, dispatch_id: str | None = None, limit: int = 1000
) -> list[JobEntry]:
    """Jobs that programs of this user have submitted, newest first.

    Args:
        only_open: Only those that may still run.
        dispatch_id: Only those of a dispatch.
        limit: How many at most.

    Example:
        >>> list_jobs(only_open=True)
        []
    """
    return Journal().jobs(only_open=only_open, dispatch_id=dispatch_id, limit=limit)


def attach(job: str) -> list[Any]:
    """Wait for a job, and for the others that its circuits had with it; the circuits' values.

    Args:
        job: Its id, its token, or how the token begins.

    Returns:
        A value for each circuit that was asked for together, in order; an exception where one
        failed.

    Raises:
        JobNotFound: No job is called so.
        JobLost: Its circuits were not kept, so results cannot be read.
        IntegrityError, VersionMismatch: They cannot be loaded here.
    """
    journal = Journal()
    entry = journal.find(job)
    kept = _kept(journal, entry)
    with _reaching(entry):
        results = kept.executor.results_again(kept.batch, entry)
    return [getattr(result, "value", result) for result in results]


def refresh() -> list[JobEntry]:
    """Ask providers how all open jobs stand, and write down those that have ended.

    A program that waits for its jobs does so itself; this is for those of programs that are gone,
    whose money would stay reserved. Jobs whose provider does not answer stay as they are.

    Returns:
        The jobs that have ended.
    """
    journal = Journal()
    open_jobs = [entry for entry in journal.jobs(only_open=True) if entry.job_id is not None]
    ended: list[JobEntry] = []
    for entry in open_jobs:
        with suppress(QcovError), _reaching(entry):
            provider = _kept(journal, entry).executor.provider
            view = provider.look([entry.name]).get(entry.name)
            if view is not None and view.state.over:
                used = provider.used(entry.name) if view.state in _SPOILT else None
                journal.ended(entry.token, State(view.state), used, view.error)
                ended.append(journal.find(entry.token))
    return ended


def cancel(job: str) -> JobEntry:
    """Cancel a job; how it stands then.

    Args:
        job: Its id, its token, or how the token begins.

    Raises:
        JobNotFound: No job is called so.
        JobLost: Nobody can tell whether the provider has it, or the provider cannot be reached.
    """
    journal = Journal()
    entry = journal.find(job)
    if not entry.state.open:
        return entry
    executor = _kept(journal, entry).executor
    with _reaching(entry):
        provider = executor.provider
        job_id = entry.job_id or provider.find(entry.token)
        if job_id is None:
            reason = "the provider has no job with its tag (yet)"
            raise JobLost(executor=entry.provider, job=entry.name, reason=reason)
        state = provider.cancel(job_id)
        used = provider.used(job_id) if state in _SPOILT else None
    if entry.job_id is None:
        journal.submitted(entry.token, job_id)
    if state.over:
        journal.ended(entry.token, State(state), used)
    return journal.find(entry.token)


_SPOILT = (JobState.CANCELLED, JobState.FAILED)


def resolve(job: str, *, job_id: str | None = None, never: bool = False) -> JobEntry:
    """Say what became of a job of which nobody could tell whether it was submitted.

    Args:
        job: Its token, or how that begins.
        job_id: The id that the provider has given it.
        never: That the provider never had it: it costs nothing, and may be submitted again.

    Raises:
        JobNotFound: No job is called so.
        WrongSetting: Not one of the two was given, or the job is not of that kind.
    """
    journal = Journal()
    entry = journal.find(job)
    if entry.state not in (State.UNKNOWN_SUBMISSION, State.SUBMITTING):
        got = f"given for job {entry.name}, which is {entry.state}"
        expected = f"for jobs that are {State.UNKNOWN_SUBMISSION}"
        raise WrongSetting(setting="resolve", got=got, expected=expected)
    if never == (job_id is not None):
        got = "both" if never else "none of them"
        raise WrongSetting(setting="job_id or never", got=got, expected="one of the two")
    if job_id is not None:
        journal.submitted(entry.token, job_id)
    else:
        journal.ended(entry.token, State.REFUSED, {}, "it was said that it was never submitted")
    return journal.find(entry.token)


@contextmanager
def _reaching(entry: JobEntry) -> Generator[None, None, None]:
    try:
        yield
    except QcovError:
        raise
    except Exception as error:  # a provider's own
        reason = error_text(error)
        raise JobLost(executor=entry.provider, job=entry.name, reason=reason) from error


def _kept(journal: Journal, entry: JobEntry) -> KeptRun:
    kept = kept_run(journal, entry.run)
    if kept is None:
        reason = "its circuits could not be kept, so its results cannot be read here"
        raise JobLost(executor=entry.provider, job=entry.name, reason=reason)
    executor = kept.executor.model_copy(update={"budget": None})
    return replace(kept, executor=executor)
