"""The circuits of a dispatch, and one of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov import diagrams
from qcov.errors import JobNotFound
from qcov.journal import Journal
from qcov.store.circuits import Wanted
from qcov_server.circuits import read_place, results, sizes, views, written_place
from qcov_server.depends import TheStore
from qcov_server.engine import Row, Store
from qcov_server.ui.circuit_drawing import draw
from qcov_server.ui.render import render

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 100
_MOST_NODES = 200  #: that can be chosen from a list
_LONG = 200_000  #: characters of a text view; what is longer would freeze a browser


class Chosen(BaseModel):
    """What the address says of the list; a form sends what was not filled in as empty text."""

    node: str = Field(default="", max_length=10)
    executor: str = Field(default="", max_length=200)
    status: Literal["", "COMPLETED", "FAILED"] = ""
    sort: Literal["time", "-time", "duration", "-duration"] = "time"
    after: str | None = Field(default=None, max_length=64)
    before: str | None = Field(default=None, max_length=64)

    def wanted(self, dispatch_id: str) -> Wanted:
        """The list."""
        return Wanted(
            dispatch_id=dispatch_id,
            node_id=int(self.node) if self.node.isascii() and self.node.isdigit() else None,
            executor=self.executor or None,
            status=self.status or None,
            sort="execution_time" if self.sort.endswith("duration") else "number",
            descending=self.sort.startswith("-"),
        )

    def query(self, **changes: str) -> str:
        """The address of another window or order of the same list, after the `?`."""
        told = self.model_dump(include={"node", "executor", "status", "sort"}) | changes
        return urlencode({name: value for name, value in told.items() if value})


@router.get("/dispatches/{dispatch_id}/circuits")
def circuits(
    request: Request, store: TheStore, dispatch_id: str, chosen: Annotated[Chosen, Query()]
) -> HTMLResponse:
    """The circuits of a dispatch."""
    dispatch = store.get_dispatch(dispatch_id)
    values = {"dispatch": dispatch, "chosen": chosen} | _window(store, dispatch_id, chosen)
    if "hx-request" in request.headers:
        return render(request, "circuit_rows.html", values)
    summary = store.circuit_summary(dispatch_id)
    by_node = store.circuits_by_node(dispatch_id)
    own = sum(row["circuits"] for row in by_node)
    values |= {
        "summary": summary,
        "executors": sorted({row["executor"] for row in summary} | {chosen.executor} - {""}),
        "by_node": by_node if len(by_node) <= _MOST_NODES else [],
        "elsewhere": sum(row["circuits"] for row in summary) - own,
    }
    return render(request, "circuits.html", values)


def _window(store: Store, dispatch_id: str, chosen: Chosen) -> dict[str, Any]:
    wanted = chosen.wanted(dispatch_id)
    after, before = read_place(chosen.after), read_place(chosen.before)
    backwards = after is None and before is not None
    rows = list(store.list_circuits(wanted, limit=PAGE_SIZE + 1, after=after, before=before))
    more = len(rows) > PAGE_SIZE
    rows = (rows[1:] if backwards else rows[:-1]) if more else rows
    earlier = more if backwards else after is not None
    later = bool(rows) if backwards else more
    size = sizes(store, rows)
    return {
        "rows": [{**row, "size": size.get(str(row["structure"]))} for row in rows],
        "total": store.count_circuits(wanted),
        "previous": written_place(wanted.place(rows[0])) if earlier and rows else None,
        "next": written_place(wanted.place(rows[-1])) if later and rows else None,
        "filtered": bool(chosen.node or chosen.executor or chosen.status),
    }


@router.get("/dispatches/{dispatch_id}/circuits/{circuit_id}")
def circuit(request: Request, store: TheStore, dispatch_id: str, circuit_id: str) -> HTMLResponse:
    """One circuit."""
    row = store.get_circuit(dispatch_id, circuit_id)
    nodes = store.get_nodes(dispatch_id, node_id=row["node_id"])
    told = views(row)
    values = {
        "dispatch": store.get_dispatch(dispatch_id),
        "circuit": row,
        "node": nodes[0] if nodes else None,
        "views": told | {name: _shortened(told[name]) for name in ("drawing", "openqasm")},
        "picture": _picture(row),
        "results": results(row),
        "attempts": _timeline(row),
        "job_page": _job_page(row["job_id"]),
        "facts": _facts(row),
    }
    return render(request, "circuit.html", values)


def _job_page(job_id: str | None) -> str | None:
    """The page of a circuit's job; local executors have jobs that no journal knows."""
    if job_id is None:
        return None
    try:
        return f"/jobs/{quote(Journal().find(job_id).token)}"
    except JobNotFound:
        return None


def _shortened(text: str | None) -> str | None:
    if text is None or len(text) <= _LONG:
        return text
    return f"{text[:_LONG]}\n[{len(text) - _LONG:,} more characters: ask the REST interface]"


def _picture(row: Row) -> Any:
    if row["structure_data"] is None:
        return None
    return draw(diagrams.parse(row["structure_data"]), row["parameters"] or [])


def _timeline(row: Row) -> list[dict[str, Any]]:
    """The tries, each with where its waiting and its running stand, in hundredths of all."""
    known = cast("list[dict[str, Any]]", row["attempts"] or [])
    attempts: list[dict[str, Any]] = [{"kind": None, "job_id": None} | one for one in known]
    begin = row["queued"]
    moments = [one.get(name) for one in attempts for name in ("started", "finished")]
    end = max((moment for moment in moments if moment is not None), default=begin)
    if begin is None or end is None or end <= begin:
        return [{**one, "from": 0, "wide": 100, "seconds": _took(one)} for one in attempts]
    scale = 100 / (end - begin)
    placed: list[dict[str, Any]] = []
    for one in attempts:
        started = _or(one.get("started"), begin)
        wide = (_or(one.get("finished"), end) - started) * scale
        place = {"from": _within((started - begin) * scale), "wide": _within(wide)}
        placed.append({**one, **place, "seconds": _took(one)})
    return placed


def _took(attempt: Row) -> float | None:
    started, finished = attempt.get("started"), attempt.get("finished")
    return None if started is None or finished is None else finished - started


def _or(moment: float | None, other: float) -> float:
    return other if moment is None else moment


def _within(share: float) -> float:
    return round(min(100.0, max(0.0, share)), 2)


def _facts(row: Row) -> dict[str, Any]:
    """What executors said beside the result."""
    told: dict[str, Any] = {
        "Backend": row["backend"],
        "Derivative": row["diff_method"],
        "Cache": row["cache"],
        **cast("dict[str, Any]", row["metadata"] or {}),
    }
    return {name: value for name, value in told.items() if value is not None}
