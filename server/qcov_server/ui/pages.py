"""The pages' routes. Reads are plain functions: they run in a worker thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.classical.status import Status
from qcov.errors import NodeNotFound
from qcov_server.depends import current_store
from qcov_server.engine import Row, Store
from qcov_server.ui.present import lasted
from qcov_server.ui.render import render

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 50
NODES_PAGE_SIZE = 100

#: The filters of the list: what the address says, and what a person reads.
FILTERS = {
    "": "All",
    "RUNNING": "Running",
    "COMPLETED": "Completed",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
}

TheStore = Annotated[Store, Depends(current_store)]
PageNumber = Annotated[int, Query(ge=1, le=10**7)]


@router.get("/")
def dispatches(
    request: Request,
    store: TheStore,
    status: Annotated[str, Query(max_length=16)] = "",
    search: Annotated[str, Query(max_length=200)] = "",
    page: PageNumber = 1,
) -> HTMLResponse:
    """All dispatches."""
    status = status if status in FILTERS else ""
    search = search.strip()
    rows, total = store.list_dispatches(
        limit=PAGE_SIZE,
        offset=(page - 1) * PAGE_SIZE,
        status=status or None,
        search=search or None,
        root_only=not search,
    )
    values = {
        "rows": [_timed(row) for row in rows],
        "window": _window(page, PAGE_SIZE, total),
        "filters": FILTERS,
        "status": status,
        "search": search,
    }
    whole = "hx-request" not in request.headers
    return render(request, "dispatches.html" if whole else "rows.html", values)


@router.get("/dispatches/{dispatch_id}")
def dispatch(request: Request, store: TheStore, dispatch_id: str) -> HTMLResponse:
    """One dispatch, with its graph."""
    values = _heading(store, dispatch_id) | _nodes(store, dispatch_id, 1)
    return render(request, "dispatch.html", values)


@router.get("/dispatches/{dispatch_id}/heading")
def heading(request: Request, store: TheStore, dispatch_id: str) -> HTMLResponse:
    """What of a dispatch changes while it runs, except its nodes."""
    return render(request, "heading.html", _heading(store, dispatch_id))


@router.get("/dispatches/{dispatch_id}/nodes")
def nodes(
    request: Request, store: TheStore, dispatch_id: str, page: PageNumber = 1
) -> HTMLResponse:
    """A page of the table of nodes."""
    row = store.get_dispatch(dispatch_id)
    return render(request, "nodes.html", {"dispatch": row} | _nodes(store, dispatch_id, page))


@router.get("/dispatches/{dispatch_id}/nodes/{node_id}")
def node(request: Request, store: TheStore, dispatch_id: str, node_id: int) -> HTMLResponse:
    """All that is known of one node."""
    row = store.get_dispatch(dispatch_id)
    found = store.get_nodes(dispatch_id, node_id=node_id)
    if not found:
        raise NodeNotFound(dispatch_id=dispatch_id, node_id=node_id)
    ran = store.get_circuits(dispatch_id, node_id, limit=1)
    values = {"dispatch": row, "node": _timed(found[0]), "ran_circuits": bool(ran)}
    return render(request, "node.html", values)


def _heading(store: Store, dispatch_id: str) -> dict[str, Any]:
    row = _timed(store.get_dispatch(dispatch_id))
    return {
        "dispatch": row,
        "terminal": Status.is_terminal(row["status"]),
        "circuits": store.circuit_summary(dispatch_id),
    }


def _nodes(store: Store, dispatch_id: str, page: int) -> dict[str, Any]:
    total = int(store.get_dispatch(dispatch_id)["nodes_total"])
    rows = store.get_nodes(dispatch_id, limit=NODES_PAGE_SIZE, offset=(page - 1) * NODES_PAGE_SIZE)
    return {
        "nodes": [_timed(row) for row in rows],
        "nodes_window": _window(page, NODES_PAGE_SIZE, total),
    }


def _timed(row: Row) -> Mapping[str, Any]:
    return {**row, "seconds": lasted(row["started"], row["ended"])}


def _window(page: int, size: int, total: int) -> dict[str, int | None]:
    """Which part of a list is shown, and where the parts beside it are."""
    return {
        "page": page,
        "first": min((page - 1) * size + 1, total),
        "last": min(page * size, total),
        "total": total,
        "previous": page - 1 if page > 1 else None,
        "next": page + 1 if page * size < total else None,
    }
