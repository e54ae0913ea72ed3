"""The pages' routes. Reads are plain functions: they run in a worker thread."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.errors import NodeNotFound
from qcov_server.ui.render import render
from qcov_server.ui.windows import TheStore, timed

router = APIRouter(include_in_schema=False)


@router.get("/dispatches/{dispatch_id}/nodes/{node_id}")
def node(request: Request, store: TheStore, dispatch_id: str, node_id: int) -> HTMLResponse:
    """All that is known of one node."""
    row = store.get_dispatch(dispatch_id)
    found = store.get_nodes(dispatch_id, node_id=node_id)
    if not found:
        raise NodeNotFound(dispatch_id=dispatch_id, node_id=node_id)
    ran = store.get_circuits(dispatch_id, node_id, limit=1)
    values = {"dispatch": row, "node": timed(found[0]), "ran_circuits": bool(ran)}
    return render(request, "node.html", values)
