"""Jobs at providers of quantum computers: look at them, refresh, cancel and resolve them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from qcov.errors import InvalidRequest
from qcov_server.api.dispatches import Limit, Offset
from qcov_server.api.models.base import EmptyRequest
from qcov_server.api.models.jobs import Job, JobPage, JobsTold, JobTold, ResolveRequest
from qcov_server.job_commands import run_jobs
from qcov_server.job_list import find_job, list_jobs

router = APIRouter(tags=["jobs"])

# It is an argument of a command: no option, and no line of its own.
TheJob = Annotated[str, Path(max_length=256, pattern=r"^[A-Za-z0-9][\w:./+=-]*$")]


@router.get("/jobs")
def get_jobs(
    limit: Limit = 50,
    offset: Offset = 0,
    only_open: Annotated[bool, Query(alias="open")] = False,
    device: Annotated[str | None, Query(max_length=200)] = None,
    dispatch_id: Annotated[str | None, Query(max_length=64)] = None,
) -> JobPage:
    """The jobs, newest first; `open` for those that may still run."""
    rows, total = list_jobs(
        limit=limit, offset=offset, only_open=only_open, device=device, dispatch_id=dispatch_id
    )
    items = [Job.model_validate(row) for row in rows]
    return JobPage(items=items, total=total, limit=limit, offset=offset)


@router.post("/refresh-jobs")  # below /jobs it would be the name of one
async def refresh(_request: EmptyRequest) -> JobsTold:
    """Ask providers how the open jobs of programs that are gone stand."""
    return JobsTold(told=(await run_jobs("refresh")).strip())


@router.get("/jobs/{job}")
def get_job(job: TheJob) -> Job:
    """One job, by its token, by the provider's id, or by how one of them begins."""
    return Job.model_validate(find_job(job))


@router.post("/jobs/{job}/cancel")
async def cancel(job: TheJob, _request: EmptyRequest) -> JobTold:
    """Cancel a job. What it has used by then is paid."""
    token = find_job(job)["token"]
    told = await run_jobs("cancel", token)
    return JobTold(told=told.strip(), job=Job.model_validate(find_job(token)))


@router.post("/jobs/{job}/resolve")
async def resolve(job: TheJob, request: ResolveRequest) -> JobTold:
    """Say what became of a job of which nobody can tell whether it was submitted."""
    token = find_job(job)["token"]
    if request.never == (request.job_id is not None):
        raise InvalidRequest(reason="give either `job_id` or `never`.")
    how = ["--never"] if request.job_id is None else [f"--job-id={request.job_id}"]
    told = await run_jobs("resolve", token, *how)
    return JobTold(told=told.strip(), job=Job.model_validate(find_job(token)))
