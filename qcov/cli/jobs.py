"""`jobs` and `costs`: what runs at providers, and what it has cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer

from qcov.budget import Unit, amount_text
from qcov.cli.dispatches import AS_JSON
from qcov.cli.output import fail, moment, note, plain, say, say_json, say_table
from qcov.cli.retention import seconds_in
from qcov.job_entries import JobEntry, State
from qcov.journal import Journal

jobs = typer.Typer(help="Jobs at providers of quantum computers.", invoke_without_command=True)

_JOB = typer.Argument(help="Its id, its token, or how the token begins.")
_WAYS = ("day", "device", "dispatch", "job")


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    app.add_typer(jobs, name="jobs")
    app.command()(costs)


@jobs.callback()
def list_jobs(
    context: typer.Context,
    only_open: bool = typer.Option(False, "--open", help="Only those that may still run."),
    dispatch: str | None = typer.Option(None, "--dispatch", help="Only those of this dispatch."),
    limit: int = typer.Option(20, "--limit", "-l", min=1, max=1000, help="How many, at most."),
    as_json: bool = AS_JSON,
) -> None:
    """List jobs, newest first."""
    if context.invoked_subcommand is not None:
        return
    found = Journal().jobs(only_open=only_open, dispatch_id=dispatch, limit=limit)
    if as_json:
        say_json([asdict(entry) for entry in found])
    elif found:
        columns = ("JOB", "DEVICE", "STATE", "SUBMITTED", "CIRCUITS>", "SHOTS>", "DISPATCH")
        say_table(columns, [*map(_line, found)])
    else:
        say("No job matches." if only_open or dispatch else "No job has been submitted.")


@jobs.command()
def show(job: str = _JOB, as_json: bool = AS_JSON) -> None:
    """Show one job."""
    entry = Journal().find(job)
    charges = [one for one in Journal().charges() if one["token"] == entry.token]
    if as_json:
        say_json({**asdict(entry), "charges": charges})
        return
    _tell(entry)
    for one in charges:
        actual = "not settled" if one["actual"] is None else _amount(one["unit"], one["actual"])
        say(f"{one['unit']}: {actual} (at most {_amount(one['unit'], one['estimate'])} expected)")


@jobs.command()
def attach(job: str = _JOB, as_json: bool = AS_JSON) -> None:
    """Wait for a job, and print what its circuits gave."""
    from qcov import jobs as public

    values = public.attach(job)
    if as_json:
        say_json([plain(value) for value in values])
        return
    for value in values:
        if not isinstance(value, BaseException):
            say(repr(plain(value)))
    for error in (value for value in values if isinstance(value, BaseException)):
        fail(str(error))


@jobs.command()
def refresh(as_json: bool = AS_JSON) -> None:
    """Ask providers how the open jobs of programs that are gone stand."""
    from qcov import jobs as public

    ended = public.refresh()
    if as_json:
        say_json([asdict(entry) for entry in ended])
        return
    for entry in ended:
        say(f"Job {entry.name} is {entry.state}.")
    if not ended:
        say("No job has ended that was not known to.")


@jobs.command()
def cancel(
    job: str | None = typer.Argument(None, help="Its id, its token, or how the token begins."),
    dispatch: str | None = typer.Option(None, "--dispatch", help="All open jobs of a dispatch."),
    node: list[int] = typer.Option([], "--node", help="Only those of these nodes."),
    as_json: bool = AS_JSON,
) -> None:
    """Cancel a job, or those of a dispatch."""
    if (job is None) == (dispatch is None):
        fail("say which job, or which dispatch: `qcov jobs cancel ID`", code=2)
    if job is not None:
        names = [job]
    else:
        found = Journal().jobs(only_open=True, dispatch_id=dispatch)
        names = [entry.token for entry in found if not node or entry.node_id in node]
    ended = [entry for name in names if (entry := _cancelled(name)) is not None]
    if as_json:
        say_json([asdict(entry) for entry in ended])
    for entry in () if as_json else ended:
        say(f"Job {entry.name} is {entry.state}.")
    if len(ended) < len(names) or any(entry.state.open for entry in ended):
        fail("not all jobs could be cancelled")
    if not names and not as_json:
        say("No job is open.")


def _cancelled(name: str) -> JobEntry | None:
    """A job that was to be cancelled, as it stands then; None if that could not be tried."""
    from qcov import jobs as public
    from qcov.errors import QcovError

    try:
        entry = public.cancel(name)
    except QcovError as error:
        note(f"{name}: {error}")
        return None
    if entry.state is State.COMPLETED:
        note(f"{entry.name} had ended already: `qcov jobs attach` reads its results")
    elif entry.state.open:
        note(f"{entry.name}: the provider has not confirmed it")
    return entry


@jobs.command()
def resolve(
    job: str = _JOB,
    job_id: str | None = typer.Option(None, "--job-id", help="What the provider calls it."),
    never: bool = typer.Option(False, "--never", help="The provider never had it."),
    as_json: bool = AS_JSON,
) -> None:
    """Say what became of a job of which nobody could tell whether it was submitted."""
    from qcov import jobs as public

    entry = public.resolve(job, job_id=job_id, never=never)
    if as_json:
        say_json(asdict(entry))
    else:
        _tell(entry)


def costs(
    by: str = typer.Option("day", "--by", help="day, device, dispatch or job."),
    since: str | None = typer.Option(None, "--since", help="Only the last 90s, 15m, 12h, 30d, 8w."),
    as_json: bool = AS_JSON,
) -> None:
    """What jobs have cost; where that is not known yet, what they may cost at most."""
    if by not in _WAYS:
        fail(f"--by: {by!r} is none of {', '.join(_WAYS)}", code=2)
    charges = Journal().charges(
        since=0.0 if since is None else time.time() - seconds_in(since, "--since")
    )
    rows = _summed(charges, by)
    if as_json:
        say_json(rows)
    elif rows:
        columns = (by.upper(), "JOBS>", "USD>", "QPU SECONDS>", "TASKS>", "SHOTS>", "NOT SETTLED>")
        say_table(columns, [*map(_cost_line, rows)])
    else:
        say("No job has been submitted.")


def _summed(charges: Iterable[Mapping[str, Any]], by: str) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    tokens: dict[str, set[str]] = {}
    for one in charges:
        name = _group(one, by)
        row = groups.setdefault(name, {by: name, "jobs": 0, **dict.fromkeys(Unit), "unsettled": 0})
        if one["token"] not in tokens.setdefault(name, set()):
            tokens[name].add(one["token"])
            row["jobs"] += 1
            row["unsettled"] += one["actual"] is None
        amount = one["estimate"] if one["actual"] is None else one["actual"]
        row[one["unit"]] = (row.get(one["unit"]) or 0.0) + amount
    return list(groups.values())


def _group(charge: Mapping[str, Any], by: str) -> str:
    match by:
        case "day":
            return datetime.fromtimestamp(charge["created"], UTC).astimezone().date().isoformat()
        case "device":
            return f"{charge['provider']} {charge['device']}"
        case "dispatch":
            return charge["dispatch_id"] or "outside dispatches"
        case _:
            return charge["job_id"] or charge["token"]


def _cost_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    amounts = ("?" if row[unit] is None else f"{row[unit]:.6g}" for unit in Unit)
    return next(iter(row.values())), str(row["jobs"]), *amounts, str(row["unsettled"])


def _line(entry: JobEntry) -> tuple[str, ...]:
    return (
        entry.name, f"{entry.provider} {entry.device}", entry.state, moment(entry.submitted),
        str(entry.programs), str(entry.shots), entry.dispatch_id or "",
    )  # fmt: skip


def _tell(entry: JobEntry) -> None:
    say(f"{entry.name} on {entry.provider} {entry.device}: {entry.state}")
    if entry.job_id is not None:
        say(f"token: {entry.token}")
    say(f"{entry.programs} circuits, {entry.shots} shots, asked for {moment(entry.created)}")
    if entry.dispatch_id is not None:
        say(f"for node {entry.node_id} of dispatch {entry.dispatch_id}")
    if entry.error:
        say(f"error: {entry.error}")


def _amount(unit: str, amount: float) -> str:
    return amount_text(unit, amount)
