"""Sees what becomes of jobs: their journal is a file that many processes write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from qcov.errors import QcovError, StoreUnavailable
from qcov.job_entries import JobEntry
from qcov.journal import Journal
from qcov_server.engine import Engine

_INTERVAL = 1.0  # seconds
_RECENT = 200  # jobs that are looked at besides the open ones
_MOMENT = 60.0  # seconds

_log = logging.getLogger(__name__)


class JobWatch:
    """Tells of every job that is made or changes, when somebody listens.

    Args:
        engine: Whose events tell of it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stamp: tuple[int, int] | None = None
        self._known: Mapping[str, JobEntry] | None = None

    async def watch(self) -> None:
        """Look again and again, and tell what has changed since the last look, however long ago."""
        while True:
            try:
                await self._look()
            except StoreUnavailable:  # whoever opens the page of jobs is told why
                pass
            except Exception:  # noqa: BLE001  # the next change is another matter
                _log.exception("what has become of jobs could not be told")
            await asyncio.sleep(_INTERVAL)

    async def _look(self) -> None:
        path = Journal().path
        stamp = _stamp(path)
        if self._known is not None and stamp == self._stamp:
            return
        known, changed, roots = await asyncio.to_thread(self._changed, path)
        # No await from here on: all of it is told, or none.
        self._known, self._stamp = known, stamp
        for job in changed:
            about = {"job": job.token, "state": job.state, "device": job.device}
            dispatch = job.dispatch_id
            self._engine.events.tell("jobs", **about, dispatch=dispatch, root=roots[dispatch])

    def _changed(
        self, path: Path
    ) -> tuple[Mapping[str, JobEntry], Sequence[JobEntry], Mapping[str | None, str | None]]:
        """All jobs, those that have changed, and the roots of their dispatches."""
        found = _jobs(path)
        before = _long_known(found) if self._known is None else self._known
        changed = [job for job in found.values() if before.get(job.token) != job]
        return found, changed, {each: self._root(each) for each in {j.dispatch_id for j in changed}}

    def _root(self, dispatch: str | None) -> str | None:
        """What a job's dispatch is a part of: who may see that one may see the job."""
        if dispatch is None:
            return None
        try:
            return self._engine.store.get_dispatch(dispatch)["root_id"]
        except QcovError:  # it was deleted, or cannot be read
            return None


def _long_known(jobs: Mapping[str, JobEntry]) -> Mapping[str, JobEntry]:
    """Without those of which somebody may have read a moment before the first look."""
    since = time.time() - _MOMENT
    return {
        token: job
        for token, job in jobs.items()
        if max(job.created, job.submitted or 0.0, job.ended or 0.0) < since
    }


def _jobs(path: Path) -> Mapping[str, JobEntry]:
    if not path.exists():  # reading would make it
        return {}
    journal = Journal(path)
    found = [*journal.jobs(limit=_RECENT), *journal.jobs(only_open=True)]
    return {job.token: job for job in found}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
