"""What the circuits of a dispatch have cost, by executor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from qcov.store.asking import Asking
from qcov.store.schema import circuits, dispatches
from qcov.wire import unpack

_AT_A_TIME = 2000  # records that are unpacked while others wait


def costs(store: Asking, dispatch_id: str) -> list[dict[str, Any]]:
    """A row for each executor and device that ran circuits of a dispatch or of its sublattices.

    Each has `executor`, `device`, `circuits`, `failed`, `jobs`, `shots`, `seconds` on the executor
    and `cost`, amounts by unit. All records are read: 100,000 take about a second.
    """
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    jobs: dict[tuple[str, str | None], set[str]] = {}
    for row in _rows(store, dispatch_id):
        place = row["executor"], row["device"]
        total = found.setdefault(place, _nothing(*place))
        record: Mapping[str, Any] = unpack(row["record"])
        _add(total, row["execution_time"], record)
        if (job := record.get("job_id")) is not None:
            jobs.setdefault(place, set()).add(job)
    for place, ids in jobs.items():
        found[place]["jobs"] = len(ids)
    return [found[place] for place in sorted(found, key=lambda place: (place[0], place[1] or ""))]


def together(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What some of those rows cost in all, by unit.

    >>> together([{"cost": {"USD": 1.0}}, {"cost": {"USD": 0.5, "tasks": 2}}])
    {'USD': 1.5, 'tasks': 2}
    """
    sums: dict[str, float] = {}
    for row in rows:
        for unit, amount in row["cost"].items():
            sums[unit] = sums.get(unit, 0) + amount
    return sums


def _nothing(executor: str, device: str | None) -> dict[str, Any]:
    counts = dict.fromkeys(("circuits", "failed", "jobs", "shots"), 0)
    return {"executor": executor, "device": device, **counts, "seconds": 0.0, "cost": {}}


def _add(total: dict[str, Any], seconds: float | None, record: Mapping[str, Any]) -> None:
    total["circuits"] += 1
    total["failed"] += record.get("error") is not None
    total["shots"] += record.get("shots") or 0
    total["seconds"] += seconds or 0.0
    cost: Mapping[str, float] = record.get("cost") or {}
    for unit, amount in cost.items():
        total["cost"][unit] = total["cost"].get(unit, 0) + amount


def _rows(store: Asking, dispatch_id: str) -> Iterator[Mapping[str, Any]]:
    family = sa.select(dispatches.c.id).where(dispatches.c.id == dispatch_id)
    tree = family.cte("tree", recursive=True)
    tree = tree.union_all(sa.select(dispatches.c.id).where(dispatches.c.parent_id == tree.c.id))
    wanted = (circuits.c.executor, circuits.c.device, circuits.c.execution_time, circuits.c.record)
    for each in store.rows(sa.select(tree.c.id)):
        after = -1
        while True:
            window = sa.select(circuits.c.number, *wanted).where(
                circuits.c.dispatch_id == each["id"], circuits.c.number > after
            )
            rows = store.rows(window.order_by(circuits.c.number).limit(_AT_A_TIME))
            yield from rows
            if len(rows) < _AT_A_TIME:
                break
            after = rows[-1]["number"]
