"""Jobs with what they cost, as pages and programs are shown them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from qcov.job_entries import JobEntry
from qcov.journal import Journal

Job = dict[str, Any]


def list_jobs(*, limit: int, offset: int = 0, **chosen: Any) -> tuple[list[Job], int]:
    """A window of the jobs, newest first, and how many there are in all.

    Args:
        limit: How many at most.
        offset: How many are left out before.
        **chosen: `only_open`, `device` and `dispatch_id`.
    """
    journal = Journal()
    if not journal.path.exists():  # reading would make it
        return [], 0
    entries = journal.jobs(limit=limit, offset=offset, **chosen)
    charges = journal.charges_of(entry.token for entry in entries)
    rows = [_with_charges(entry, charges.get(entry.token, ())) for entry in entries]
    return rows, journal.count(**chosen)


def find_job(name: str) -> Job:
    """One job, by its token, its id, or their beginning. Raises `JobNotFound`."""
    entry = Journal().find(name)
    return _with_charges(entry, Journal().charges_of([entry.token]).get(entry.token, ()))


def devices() -> list[str]:
    """The devices that there are jobs of."""
    journal = Journal()
    return journal.devices() if journal.path.exists() else []


def _with_charges(entry: JobEntry, charges: Sequence[Mapping[str, Any]]) -> Job:
    return {**asdict(entry), "state": entry.state.value, "name": entry.name} | {
        "open": entry.state.open,
        "charges": [{key: one[key] for key in ("unit", "estimate", "actual")} for one in charges],
    }
