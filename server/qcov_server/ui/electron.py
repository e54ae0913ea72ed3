"""The page of an electron, and what of it is shown beside the graph."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.classical.status import NOT_RUN, Status
from qcov.errors import NodeNotFound
from qcov.inert import inert
from qcov.store.circuits import Wanted
from qcov_server.depends import TheStore
from qcov_server.electrons import electron
from qcov_server.engine import Store
from qcov_server.ui.render import render
from qcov_server.ui.windows import as_shown, timed

router = APIRouter(include_in_schema=False)

Number = Annotated[int, Path(ge=0, le=2**31 - 1)]

_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")
_LONGEST = 500_000  #: characters of source that are coloured


@router.get("/dispatches/{dispatch_id}/nodes/{node_id}")
def node(request: Request, store: TheStore, dispatch_id: str, node_id: Number) -> HTMLResponse:
    """All that is known of one node; a part of it for the graph's inspector."""
    if "hx-request" in request.headers:
        return render(request, "node.html", _brief(store, dispatch_id, node_id))
    values = _whole(store, dispatch_id, node_id)
    row = values["node"]
    values |= {
        "code": None if values["electron"].source is None else coloured(values["electron"].source),
        "printed": {name: printed(row[name] or "") for name in ("stdout", "stderr")},
    }
    return render(request, "electron.html", values)


@router.get("/dispatches/{dispatch_id}/nodes/{node_id}/state")
def state(request: Request, store: TheStore, dispatch_id: str, node_id: Number) -> HTMLResponse:
    """What of the page changes while a node runs, except its output."""
    return render(request, "electron_state.html", _whole(store, dispatch_id, node_id))


def _brief(store: Store, dispatch_id: str, node_id: int) -> dict[str, Any]:
    row = store.get_dispatch(dispatch_id)
    found = store.get_nodes(dispatch_id, node_id=node_id)
    if not found:
        raise NodeNotFound(dispatch_id=dispatch_id, node_id=node_id)
    ran = store.get_circuits(dispatch_id, node_id, limit=1)
    return {"dispatch": row, "node": timed(as_shown(found, row)[0]), "ran_circuits": bool(ran)}


def _whole(store: Store, dispatch_id: str, node_id: int) -> dict[str, Any]:
    dispatch = store.get_dispatch(dispatch_id)
    found = electron(store, dispatch_id, node_id)
    [row] = as_shown([found.row], dispatch)
    latest = {name: row[name] for name in ("attempt", "started", "ended", "error", "status")}
    tries = [{**each, "status": "FAILED"} for each in found.attempts]
    return {
        "dispatch": dispatch,
        "electron": found,
        "node": timed(row),
        "terminal": row["status"] == NOT_RUN or Status.is_terminal(row["status"]),
        "attempts": [timed(row) for row in (*tries, latest)],
        "circuits": store.count_circuits(Wanted(dispatch_id=dispatch_id, node_id=node_id)),
    }


def printed(text: str) -> str:
    r"""What a terminal would show of it in the end: a carriage return overwrites its line.

    >>> printed("10 %\r20 %\r30 %\ndone\r\n")
    '30 %\ndone\n'
    """
    return inert(_OVERWRITTEN.sub("", text.replace("\r\n", "\n")))


def coloured(source: str) -> Markup:
    """Python code as HTML, its colours by class."""
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    text = inert(source.rstrip())
    if len(text) > _LONGEST:
        return Markup("{}").format(text)
    classes: Any = HtmlFormatter
    html = str(highlight(text, PythonLexer(stripnl=False), classes(nowrap=True)))
    return Markup(html)  # noqa: S704  # the formatter escapes all that it is given
