"""The pages of jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.budget import amount_text
from qcov_server.job_list import Job, devices, find_job, list_jobs
from qcov_server.ui.render import render
from qcov_server.ui.windows import PageNumber, window

router = APIRouter(include_in_schema=False)

_PAGE = 50
#: What a state is called, and the symbol beside it.
STATES = {
    "SUBMITTING": ("Submitting", "running"),
    "SUBMITTED": ("Submitted", "running"),
    "COMPLETED": ("Completed", "completed"),
    "FAILED": ("Failed", "failed"),
    "CANCELLED": ("Cancelled", "cancelled"),
    "REFUSED": ("Refused", "failed"),
    "UNKNOWN_SUBMISSION": ("Unknown", "unknown"),
}


@router.get("/jobs")
def jobs(
    request: Request,
    only_open: Annotated[str, Query(alias="open", max_length=5)] = "",
    device: Annotated[str, Query(max_length=200)] = "",
    dispatch: Annotated[str, Query(max_length=64)] = "",
    page: PageNumber = 1,
) -> HTMLResponse:
    """All jobs, or some."""
    chosen: dict[str, Any] = {
        "only_open": bool(only_open),
        "device": device.strip() or None,
        "dispatch_id": dispatch.strip() or None,
    }
    rows, total = list_jobs(limit=_PAGE, offset=(page - 1) * _PAGE, **chosen)
    values = {
        "rows": [_shown(row) for row in rows],
        "window": window(page, _PAGE, total),
        "devices": devices(),
        "only_open": "1" if only_open else "",
        "device": device.strip(),
        "dispatch": dispatch.strip(),
    }
    whole = "hx-request" not in request.headers
    return render(request, "jobs.html" if whole else "job_rows.html", values)


@router.get("/jobs/{job:path}")
def job(request: Request, job: str) -> HTMLResponse:
    """One job."""
    found = _shown(find_job(job))
    whole = "hx-request" not in request.headers
    return render(request, "job.html" if whole else "job_facts.html", {"job": found})


def _shown(job: Job) -> Job:
    name, symbol = STATES.get(job["state"], (job["state"], "waiting"))
    charges = job["charges"]
    estimate = ", ".join(amount_text(one["unit"], one["estimate"]) for one in charges)
    known = [one for one in charges if one["actual"] is not None]
    cost = ", ".join(amount_text(one["unit"], one["actual"]) for one in known)
    waited = None if job["submitted"] is None else job["submitted"] - job["created"]
    ran = (
        None
        if job["ended"] is None or job["submitted"] is None
        else job["ended"] - job["submitted"]
    )
    return job | {
        "state_name": name,
        "symbol": symbol,
        "estimate": estimate,
        "cost": cost,
        "waited": waited,
        "ran": ran,
    }
