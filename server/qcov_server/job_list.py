"""Jobs with what they cost, as pages and programs are shown them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

from qcov.errors import DispatchNotFound
from qcov.job_entries import JobEntry
from qcov.journal import Journal
from qcov_server.engine import Row, Store

Job = dict[str, Any]

_MOST_OPEN = 10_000  # jobs that are looked through


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


def open_jobs(store: Store, dispatch: Row) -> tuple[int, dict[str, float]]:
    """How many jobs of a dispatch have not ended, and what they cost at most, by unit.

    Those of sublattices count where it is the dispatch that was asked for.
    """
    journal = Journal()
    if not journal.path.exists():  # reading would make it
        return 0, {}

    @cache
    def is_part(dispatch_id: str | None) -> bool:
        if dispatch_id is None or dispatch_id == dispatch["id"] or dispatch["parent_id"]:
            return dispatch_id == dispatch["id"]
        with suppress(DispatchNotFound):
            return store.get_dispatch(dispatch_id)["root_id"] == dispatch["id"]
        return False

    entries = journal.jobs(only_open=True, limit=_MOST_OPEN)
    tokens = [entry.token for entry in entries if is_part(entry.dispatch_id)]
    most = Counter[str]()
    for charges in journal.charges_of(tokens).values():
        for charge in charges:
            most[charge["unit"]] += charge["estimate"]
    return len(tokens), dict(most)


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
