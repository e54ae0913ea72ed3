"""The page of executors: how circuits and electrons fare on them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.budget import amount_text
from qcov.classical.status import NOT_RUN
from qcov.journal import Journal
from qcov_server.counts import HOUR, Counts, Executor, Lengths
from qcov_server.depends import TheStore
from qcov_server.engine import Breaker, Engine, Store
from qcov_server.ui.present import duration
from qcov_server.ui.render import render

router = APIRouter(include_in_schema=False)


_SPANS = {"day": ("24 hours", 24), "week": ("7 days", 7 * 24), "all": ("All", None)}
_BARS = 24
_PERCENTILES = (0.5, 0.95, 0.99)


@router.get("/executors")
def executors(
    request: Request, store: TheStore, span: Annotated[str, Query(max_length=8)] = "day"
) -> HTMLResponse:
    """All executors that circuits or electrons have run on."""
    span = span if span in _SPANS else "day"
    hours = _SPANS[span][1]
    now = time.time()
    since = 0.0 if hours is None else now - hours * HOUR
    counts = cast("Counts", request.app.state.counts)
    jobs = _Jobs.since(since)
    with counts.executors(store.circuits_after) as (found, complete):
        seen = [one for one in found if one.last >= since]
        names = {one.name for one in seen}
        quantum = [_quantum(one, since, now, jobs.of(one, names)) for one in seen]
    engine = cast("Engine", request.app.state.engine)
    for row in quantum:
        row["alone"] = _alone(row, engine.breakers.open(), now)
    values = {
        "quantum": quantum,
        "counted": None if complete else counts.counted,
        "classical": _classical(store, since),
        "spans": {name: told for name, (told, _) in _SPANS.items()},
        "span": span,
    }
    whole = "hx-request" not in request.headers
    return render(request, "executors.html" if whole else "executor_rows.html", values)


@router.get("/executors/cluster")
async def cluster(request: Request) -> HTMLResponse:
    """The members of the Dask cluster, as a part of the page."""
    engine = cast("Engine", request.app.state.engine)
    found = await engine.cluster()
    return render(request, "cluster.html", {"cluster": found})


def _quantum(one: Executor, since: float, now: float, jobs: Mapping[str, Any]) -> dict[str, Any]:
    tally = one.since(since)
    return {
        "name": one.name,
        "device": one.device,
        "circuits": tally.circuits,
        "failed": tally.failed,
        "rate": tally.failed / tally.circuits if tally.circuits else 0.0,
        "queue": _percentiles(tally.queue),
        "run": _percentiles(tally.run),
        "bars": _bars(one, since, now),
        "last": one.last,
        "last_error": one.last_error if one.last_error and one.last_error[0] >= since else None,
        "health": _health(one.recent),
        **jobs,
    }


def _alone(row: Mapping[str, Any], breakers: Sequence[Breaker], now: float) -> float | None:
    """For how many seconds more an executor is left alone; failed circuits name no device."""
    found = (
        breaker.until - now
        for breaker in breakers
        if breaker.executor == row["name"] and row["device"] in (None, breaker.device)
    )
    return next(found, None)


def _percentiles(lengths: Lengths) -> list[str]:
    found = [lengths.percentile(share) for share in _PERCENTILES]
    return [_length(seconds) for seconds in found if seconds is not None]


def _length(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else duration(seconds)


def _health(recent: Sequence[bool]) -> str:
    """How the latest circuits fared."""
    failed = len(recent) - sum(recent)
    if not failed:
        return "working"
    return "failing" if failed == len(recent) or not any(list(recent)[-5:]) else "unsteady"


def _bars(one: Executor, since: float, now: float) -> list[dict[str, int]]:
    """Circuits over time as bars of a drawing 100 high; whole hours, at most so many bars."""
    first = int(since // HOUR) if since else min(one.hours, default=0)
    step = max(1, -(-(int(now // HOUR) + 1 - first) // _BARS))
    sums: Counter[int] = Counter()
    for hour, tally in one.hours.items():
        if hour >= first:
            sums[(hour - first) // step] += tally.circuits
    most = max(sums.values(), default=0)
    return [
        {"x": 4 * place, "height": max(6, round(100 * sums[place] / most)), "count": sums[place]}
        for place in range(_BARS)
        if sums[place]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Jobs:
    """Open jobs, and what was spent by unit; both by provider and device."""

    open: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    spent: Mapping[tuple[str, str], Counter[str]] = field(
        default_factory=dict[tuple[str, str], Counter[str]]
    )

    @classmethod
    def since(cls, moment: float) -> _Jobs:
        """What is open now, and what was spent since then."""
        journal = Journal()
        if not journal.path.exists():  # reading would make it
            return cls()
        jobs = journal.jobs(only_open=True, limit=100_000)
        sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for one in journal.charges(since=moment):
            amount = one["estimate"] if one["actual"] is None else one["actual"]
            sums[one["provider"], one["device"]][one["unit"]] += amount
        return cls(open=Counter((job.provider, job.device) for job in jobs), spent=sums)

    def of(self, executor: Executor, names: Set[str]) -> dict[str, Any]:
        """Those of an executor and its device, as its provider tells them.

        So do providers that are called as none of the executors with these `names`.
        """

        def its(key: tuple[str, str]) -> bool:
            return key[1] == executor.device and (key[0] == executor.name or key[0] not in names)

        amounts: Counter[str] = Counter()
        for key, sums in self.spent.items():
            if its(key):
                amounts.update(sums)
        return {
            "jobs": sum(count for key, count in self.open.items() if its(key)),
            "spent": ", ".join(amount_text(unit, amount) for unit, amount in amounts.items()),
        }


def _classical(store: Store, since: float) -> list[dict[str, Any]]:
    stands: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in store.electrons_by_executor(since):
        stands[row["executor"]][row["status"]] += row["count"]
    lengths: defaultdict[str, Lengths] = defaultdict(Lengths)
    for executor, seconds in store.electron_lengths(since):
        lengths[executor].add(seconds)
    return [
        {
            "name": name,
            "running": count["RUNNING"],
            "waiting": count["PENDING"] + count["NEW_OBJECT"],
            "done": count["COMPLETED"],
            "failed": count["FAILED"],
            "cancelled": count["CANCELLED"] + count["CANCELING"],
            "not_run": count[NOT_RUN],
            "run": _percentiles(lengths[name]),
        }
        for name, count in sorted(stands.items())
    ]
