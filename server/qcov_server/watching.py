"""Sees what becomes of jobs: their journal is a file that many processes write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from qcov.errors import StoreUnavailable
from qcov.job_entries import JobEntry
from qcov.journal import Journal

_INTERVAL = 1.0  # seconds
_MOMENT = 60.0  # seconds
_RECENT = 200  # jobs that are looked at besides the open ones

_log = logging.getLogger(__name__)

Told = Callable[..., None]


async def watch_jobs(tell: Told) -> None:
    """Tell of every job that is made or changes, as long as somebody listens.

    It begins with those that were made or have changed in the last minute: somebody may have read
    about them a moment before they began to listen.
    """
    seen, known = None, None
    while True:
        try:
            path = Journal().path
            stamp = _stamp(path)
            if known is None or stamp != seen:
                before, known = known, await asyncio.to_thread(_jobs, path)
                seen = stamp
                _tell_changes(tell, _long_known(known) if before is None else before, known)
        except Exception:  # noqa: BLE001  # the next change is another matter
            _log.exception("what has become of jobs could not be told")
        await asyncio.sleep(_INTERVAL)


def _tell_changes(tell: Told, before: Mapping[str, JobEntry], now: Mapping[str, JobEntry]) -> None:
    for token, job in now.items():
        if before.get(token) != job:
            tell("jobs", job=token, state=job.state, device=job.device, dispatch=job.dispatch_id)


def _long_known(jobs: Mapping[str, JobEntry]) -> Mapping[str, JobEntry]:
    since = time.time() - _MOMENT
    return {
        token: job
        for token, job in jobs.items()
        if max(job.created, job.submitted or 0.0, job.ended or 0.0) < since
    }


def _jobs(path: Path) -> Mapping[str, JobEntry]:
    try:
        if not path.exists():  # reading would make it
            return {}
        journal = Journal(path)
        found = [*journal.jobs(limit=_RECENT), *journal.jobs(only_open=True)]
    except StoreUnavailable:  # whoever opens the page of jobs is told why
        return {}
    return {job.token: job for job in found}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
