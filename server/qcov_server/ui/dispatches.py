"""The list of dispatches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.journal import Journal
from qcov.store.costs import together
from qcov_server.depends import TheStore
from qcov_server.engine import Row, Store
from qcov_server.ui.render import render
from qcov_server.ui.windows import Asked, Heads, timed, window

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 50

#: The filters of the list: what the address says, what a person reads, and which statuses it means.
FILTERS = {
    "": ("All", ()),
    "NEW_OBJECT": ("Waiting", ("NEW_OBJECT",)),
    "RUNNING": ("Running", ("PENDING", "RUNNING", "CANCELING")),
    "COMPLETED": ("Completed", ("COMPLETED",)),
    "FAILED": ("Failed", ("FAILED",)),
    "CANCELLED": ("Cancelled", ("CANCELLED",)),
}
#: Where they come from: what the address says, and what a person reads.
ORIGINS = {"": "Any origin", "own": "Not from triggers", "trigger": "From triggers"}
_ORDERS = ("created", "name", "status", "duration")


class AskedList(Asked):
    """What of the list is wanted."""

    origin: str = Field(default="", max_length=16)


@router.get("/")
def dispatches(
    request: Request, store: TheStore, asked: Annotated[AskedList, Query()]
) -> HTMLResponse:
    """All dispatches."""
    origin = asked.origin if asked.origin in ORIGINS else ""
    status = asked.status if asked.status in FILTERS else ""
    search, sort, page = asked.search, asked.sorted_by(_ORDERS, "-created"), asked.page
    _, triggered = store.list_dispatches(limit=0, triggered=True)
    rows, total = store.list_dispatches(
        limit=PAGE_SIZE,
        offset=(page - 1) * PAGE_SIZE,
        status=FILTERS[status][1] or None,
        search=search or None,
        root_only=not search,
        sort=sort,
        triggered=None if not origin else origin == "trigger",
    )
    of = _circuits(store, rows)
    values = {
        "rows": [{**timed(row), **of(row)} for row in rows],
        "window": window(page, PAGE_SIZE, total),
        "filters": {value: name for value, (name, _) in FILTERS.items()},
        "status": status,
        "search": search,
        "origin": origin,
        "origins": ORIGINS,
        "triggered": triggered,
        "heads": Heads(
            address="/", query={"status": status, "search": search, "origin": origin}, sort=sort
        ),
    }
    whole = "hx-request" not in request.headers
    return render(request, "dispatches.html" if whole else "rows.html", values)


def _circuits(store: Store, rows: Sequence[Row]) -> Callable[[Row], dict[str, Any]]:
    """What tells of a row its `circuits` and `cost`, with those of its sublattices."""
    counted = store.circuits_by_dispatch({row["root_id"] for row in rows})
    journal, charges = Journal(), dict[str, dict[str, float]]()
    if journal.path.exists():  # reading would make it
        charges = journal.charges_by_dispatch(each["id"] for each in counted)

    def of(row: Row) -> dict[str, Any]:
        own = [each for each in counted if row["id"] in (each["id"], each["root_id"])]
        costs = [{"cost": charges.get(each["id"], {})} for each in own]
        return {"circuits": sum(each["count"] for each in own), "cost": together(costs)}

    return of
