"""The circuits of a dispatch: lists, and all that is known of one."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query

from qcov.store.circuits import Wanted
from qcov_server.api.models.circuits import CircuitPage, CircuitQuery, CircuitSummary, WholeCircuit
from qcov_server.circuits import read_place, views, written_place
from qcov_server.depends import TheStore
from qcov_server.engine import Row

router = APIRouter(prefix="/dispatches", tags=["circuits"])


@router.get("/{dispatch_id}/circuits")
def get_circuits(
    store: TheStore, dispatch_id: str, asked: Annotated[CircuitQuery, Query()]
) -> CircuitPage:
    """The circuits that a dispatch ran, or one of its nodes, in the order they ended.

    `after` with the `next` of the window before leads through a list of any length at the same
    speed; `offset` counts. Structures come with the list only where it is neither filtered nor
    sorted.
    """
    store.get_dispatch(dispatch_id)
    wanted = wanted_of(dispatch_id, asked)
    if asked.plain:
        rows = store.get_circuits(
            dispatch_id, asked.node_id, limit=asked.limit, offset=asked.offset
        )
        return CircuitPage(items=_items(rows), limit=asked.limit, offset=asked.offset)
    rows = store.list_circuits(wanted, limit=asked.limit, after=read_place(asked.after))
    following = written_place(wanted.place(rows[-1])) if len(rows) == asked.limit else None
    total = store.count_circuits(wanted)
    return CircuitPage(items=_items(rows), limit=asked.limit, offset=0, total=total, next=following)


@router.get("/{dispatch_id}/circuits/summary")
def get_circuit_summary(store: TheStore, dispatch_id: str) -> list[CircuitSummary]:
    """How many circuits each executor ran, sublattices included."""
    store.get_dispatch(dispatch_id)
    return [CircuitSummary.model_validate(row) for row in store.circuit_summary(dispatch_id)]


@router.get("/{dispatch_id}/circuits/{circuit_id}")
def get_circuit(store: TheStore, dispatch_id: str, circuit_id: str) -> WholeCircuit:
    """One circuit: its record, its drawing as text, OpenQASM and specs."""
    row = store.get_circuit(dispatch_id, circuit_id)
    return WholeCircuit(record=_items([row])[0], **views(row))


def wanted_of(dispatch_id: str, asked: CircuitQuery) -> Wanted:
    """The list that is asked for."""
    return Wanted(
        dispatch_id=dispatch_id,
        node_id=asked.node_id,
        executor=asked.executor,
        status=asked.status,
        sort="execution_time" if asked.sort.endswith("duration") else "number",
        descending=asked.sort.startswith("-"),
    )


def _items(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", _plain(row)) for row in rows]


def _plain(value: Any) -> Any:
    """A record's values as JSON has them; bytes become base64 text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and value - value != 0:  # not a number, or infinite
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
