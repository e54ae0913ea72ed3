"""One dispatch: its heading, its nodes as graph, timeline or table, and all that it was made of."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from qcov.classical.status import NOT_RUN, Status
from qcov.errors import IntegrityError, StoreUnavailable
from qcov.store.costs import together
from qcov_server.depends import TheStore
from qcov_server.electrons import argument_names
from qcov_server.engine import Row, Store
from qcov_server.job_list import open_jobs
from qcov_server.ui.graph import drawing
from qcov_server.ui.highlight import highlighted
from qcov_server.ui.present import environment, label, money
from qcov_server.ui.render import render
from qcov_server.ui.timeline import timeline
from qcov_server.ui.tracebacks import pieces
from qcov_server.ui.windows import Asked, Heads, as_shown, timed, window

router = APIRouter(include_in_schema=False, prefix="/dispatches/{dispatch_id}")

NODES_PAGE_SIZE = 100
VIEWS = {"graph": "Graph", "timeline": "Timeline", "table": "Table"}
#: What the table of nodes can be filtered by.
STATUSES = ("NEW_OBJECT", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
_NOT_BEGUN = ("NEW_OBJECT", "PENDING")
_ORDERS = ("node_id", "name", "status", "started", "duration")
_FAILURES = 3  # failed electrons whose tracebacks are shown
_FEW = 2000  # circuits whose records are read for the heading


class AskedView(Asked):
    """What of a dispatch is wanted."""

    view: str = Field(default="", max_length=16)


@router.get("")
def dispatch(
    request: Request, store: TheStore, dispatch_id: str, asked: Annotated[AskedView, Query()]
) -> HTMLResponse:
    """One dispatch."""
    view = asked.view if asked.view in VIEWS else "graph"
    values = _heading(store, dispatch_id) | _made_of(store, dispatch_id)
    values |= {"view": view, "views": VIEWS}
    if view == "table":
        values |= _nodes(store, dispatch_id, asked)
    return render(request, "dispatch.html", values)


@router.get("/heading")
def heading(request: Request, store: TheStore, dispatch_id: str) -> HTMLResponse:
    """What of a dispatch changes while it runs, except its nodes."""
    return render(request, "heading.html", _heading(store, dispatch_id))


@router.get("/nodes")
def nodes(
    request: Request, store: TheStore, dispatch_id: str, asked: Annotated[Asked, Query()]
) -> HTMLResponse:
    """A page of the table of nodes."""
    row = store.get_dispatch(dispatch_id)
    values = _nodes(store, dispatch_id, asked)
    answer = render(request, "nodes.html", {"dispatch": row} | values)
    answer.headers["hx-replace-url"] = values["heads"].page(asked.page)
    return answer


@router.get("/timeline")
def get_timeline(store: TheStore, dispatch_id: str) -> JSONResponse:
    """What the timeline draws."""
    row = store.get_dispatch(dispatch_id)
    nodes = as_shown(store.get_nodes(dispatch_id), row)
    found = timeline(row, nodes, store.get_edges(dispatch_id))
    return JSONResponse(found)


@router.get("/graph")
def get_graph(store: TheStore, dispatch_id: str) -> JSONResponse:
    """What the graph draws."""
    row = store.get_dispatch(dispatch_id)
    nodes = as_shown(store.get_nodes(dispatch_id), row)
    return JSONResponse(drawing(nodes, store.get_edges(dispatch_id)))


@router.get("/result")
def result(request: Request, store: TheStore, dispatch_id: str) -> HTMLResponse:
    """The result, once there is one."""
    return render(request, "result.html", {"dispatch": store.get_dispatch(dispatch_id)})


@router.get("/cost")
def cost(request: Request, store: TheStore, dispatch_id: str) -> HTMLResponse:
    """What circuits have cost, by executor."""
    row = store.get_dispatch(dispatch_id)
    rows = store.circuit_costs(dispatch_id)
    values = {"dispatch": row, "costs": rows, "total": money(together([dict(r) for r in rows]))}
    return render(request, "cost.html", values)


def _heading(store: Store, dispatch_id: str) -> dict[str, Any]:
    row = timed(store.get_dispatch(dispatch_id))
    circuits = store.circuit_summary(dispatch_id)
    ran = sum(int(each["circuits"]) for each in circuits)
    costs = store.circuit_costs(dispatch_id) if 0 < ran <= _FEW else ()
    waiting, at_most = 0, dict[str, float]()
    with suppress(StoreUnavailable):  # the journal is damaged: the page of jobs says how
        waiting, at_most = open_jobs(store, row)
    return {
        "dispatch": row,
        "terminal": Status.is_terminal(row["status"]),
        "circuits": ran,
        "cost": money(together([dict(each) for each in costs])),
        "triggers": [one for one in store.triggers_of(dispatch_id) if one["status"] == "ACTIVE"],
        "many_circuits": ran > _FEW,
        "open_jobs": waiting,
        "open_cost": money(at_most),
        "error": pieces(row["error"] or ""),
        "failures": _failures(store, row),
    }


def _failures(store: Store, row: Row) -> dict[str, Any]:
    """The electrons that have failed, with their tracebacks in pieces, and how many there are."""
    if not row["error"]:
        return {"shown": [], "total": 0}
    found, total = store.list_nodes(row["id"], status="FAILED", limit=_FAILURES)
    shown = [{**node, "pieces": pieces(node["error"] or "")} for node in found]
    return {"shown": shown, "total": total}


def _made_of(store: Store, dispatch_id: str) -> dict[str, Any]:
    """What a dispatch was made of: it never changes."""
    try:
        manifest = store.manifest(dispatch_id)
    except IntegrityError as error:  # what else there is can be looked at
        return {"inputs": [], "source": "", "environment": [], "damaged": str(error)}
    source = str(manifest.get("source") or "")
    return {
        "inputs": inputs_of(store.get_dispatch(dispatch_id), source),
        "source": highlighted(source),
        "environment": environment(manifest, store.environment(dispatch_id)),
        "damaged": "",
    }


def inputs_of(row: Row, source: str) -> list[tuple[str, str]]:
    """Names and texts of the arguments; those that the source does not name have numbers."""
    given = json.loads(row["inputs_repr"])
    args, names = given.get("args", []), argument_names(source)
    numbers = map(str, range(len(names), len(args)))
    return [*zip((*names, *numbers), args, strict=False), *given.get("kwargs", {}).items()]


def _statuses(*, ended: bool) -> dict[str, str]:
    """What the table can be filtered by, and what it is called."""
    if not ended:
        return {status: label(status) for status in STATUSES}
    left = [status for status in STATUSES if status not in (*_NOT_BEGUN, "RUNNING")]
    return {_NOT_BEGUN[0]: label(NOT_RUN)} | {status: label(status) for status in left}


def _nodes(store: Store, dispatch_id: str, asked: Asked) -> dict[str, Any]:
    status, search = asked.status if asked.status in STATUSES else "", asked.search
    sort, page = asked.sorted_by(_ORDERS, "node_id"), asked.page
    dispatch = store.get_dispatch(dispatch_id)
    ended = Status.is_terminal(dispatch["status"])
    rows, total = store.list_nodes(
        dispatch_id,
        limit=NODES_PAGE_SIZE,
        offset=(page - 1) * NODES_PAGE_SIZE,
        status=(_NOT_BEGUN if ended and status in _NOT_BEGUN else status) or None,
        search=search or None,
        sort=sort,
    )
    query = {"view": "table", "status": status, "search": search}
    return {
        "nodes": [timed(row) for row in as_shown(rows, dispatch)],
        "nodes_window": window(page, NODES_PAGE_SIZE, total),
        "statuses": _statuses(ended=ended),
        "status": status,
        "search": search,
        "heads": Heads(
            address=f"/dispatches/{dispatch_id}",
            part=f"/dispatches/{dispatch_id}/nodes",
            query=query,
            sort=sort,
        ),
    }
