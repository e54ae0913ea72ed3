"""Runs of circuits as the journal keeps them, so that results of their jobs can be read later."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qcov import private_file, transport
from qcov.errors import IntegrityError, SerializationError, TransportError
from qcov.job_entries import JobEntry
from qcov.journal import Journal
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.provider import Program

if TYPE_CHECKING:
    from qcov.qexecutors.remote import RemoteQExecutor


@dataclass(frozen=True, slots=True)
class KeptRun:
    """What ran, where, and in which parts."""

    executor: RemoteQExecutor
    batch: CircuitBatch
    parts: Sequence[Sequence[int]]  #: numbers of the programs that each job has


def keep_run(
    journal: Journal,
    executor: RemoteQExecutor,
    batch: CircuitBatch,
    run: str,
    parts: Sequence[Sequence[int]],
) -> None:
    """Keep a run; one with an executor or circuits that cannot be pickled is not kept."""
    try:
        payload = transport.dumps(KeptRun(executor, batch, parts), what="the circuits of a job")
    except SerializationError:
        return
    journal.keep_run(run, payload, _seal(journal, run, payload))


def kept_run(journal: Journal, run: str) -> KeptRun | None:
    """A run that was kept; None if it was not.

    Raises:
        IntegrityError: It is not what was kept.
        VersionMismatch: It was kept by another Python or qcov.
    """
    found = journal.run_of(run)
    if found is None:
        return None
    seal, payload = found
    if not secrets.compare_digest(seal, _seal(journal, run, payload)):
        reason = "its seal in the journal of jobs was made elsewhere"
        raise IntegrityError(blob=transport.address(payload), reason=reason)
    return transport.loads(payload)


def kept_programs(journal: Journal, entry: JobEntry) -> Sequence[Program] | None:
    """All programs of a job; None if they cannot be had."""
    try:
        kept = kept_run(journal, entry.run)
    except TransportError:
        return None
    if kept is None:
        return None
    programs = kept.executor.provider.translate(kept.batch).programs
    return [programs[number] for number in kept.parts[entry.part]]


def _seal(journal: Journal, run: str, payload: bytes) -> str:
    return transport.seal(_key(journal), transport.address(payload), run)


def _key(journal: Journal) -> bytes:
    path = journal.path.with_name("jobs.key")
    if not path.exists():
        private_file.make(path, secrets.token_bytes(32))
    return path.read_bytes()
