"""Dispatches: list, look, submit, wait, cancel."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Query
from pydantic import AfterValidator

from qcov.classical.status import Status
from qcov.errors import InvalidRequest, QcovError
from qcov.inert import inert
from qcov.layout import layered
from qcov_server.api.depth import shallow
from qcov_server.api.models.dispatches import (
    Cancelled,
    CancelRequest,
    Dispatch,
    DispatchPage,
    DispatchQuery,
    RerunRequest,
    StartRequest,
    Submitted,
    Waited,
)
from qcov_server.api.models.nodes import Edge, Graph, Node, NodePage, NodeQuery, PlacedNode
from qcov_server.depends import TheEngine, TheStore
from qcov_server.ui.present import node_label

router = APIRouter(prefix="/dispatches", tags=["dispatches"])


Manifest = Annotated[dict[str, Any], Body(), AfterValidator(shallow)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=2**31)]
NodeId = Annotated[int | None, Query(ge=0, le=2**31)]


# Reads are plain functions: they run in a worker thread, beside the engine's loop.
@router.get("")
def list_dispatches(store: TheStore, asked: Annotated[DispatchQuery, Query()]) -> DispatchPage:
    """The dispatches, newest first. Those of sublattices are found by a search."""
    rows, total = store.list_dispatches(**asked.model_dump(), root_only=not asked.search)
    items = [Dispatch.model_validate(row) for row in rows]
    return DispatchPage(items=items, total=total, limit=asked.limit, offset=asked.offset)


@router.post("", status_code=201)
async def submit(engine: TheEngine, manifest: Manifest) -> Submitted:
    """Store a dispatch and run it. `blobs` in the manifest maps digests to base64 text."""
    # Blobs that lie in the store's folder already are for clients on the engine's own socket.
    received = {**manifest, "blobs": _decoded(manifest.get("blobs", {})), "spilled": {}}
    try:
        return Submitted(id=await engine.submit(received))
    except QcovError:
        raise  # some of them are ValueErrors too
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"this is not a manifest: {type(error).__name__}: {error}."
        raise InvalidRequest(reason=reason) from error


@router.post("/{dispatch_id}/start")
async def start(engine: TheEngine, dispatch_id: str, _: StartRequest) -> Submitted:
    """Start a dispatch that was only stored; one that has been started goes on."""
    return Submitted(id=await engine.start(dispatch_id, {}))


@router.post("/{dispatch_id}/rerun")
async def rerun(engine: TheEngine, dispatch_id: str, request: RerunRequest) -> Submitted:
    """Start a dispatch that was only stored, or run it once more; answers with the id of that.

    With `reuse`, what the earlier run has computed is taken over, and the rest runs.
    """
    trigger_id = None if request.trigger_id is None else str(request.trigger_id)
    made = await engine.rerun(
        dispatch_id, str(request.new_id), {}, trigger_id,
        reuse=request.reuse, watching=request.watching,
    )  # fmt: skip
    return Submitted(id=made)


@router.get("/{dispatch_id}")
def get_dispatch(store: TheStore, dispatch_id: str) -> Dispatch:
    """One dispatch."""
    return Dispatch.model_validate(store.get_dispatch(dispatch_id))


@router.get("/{dispatch_id}/nodes")
def get_nodes(store: TheStore, dispatch_id: str, asked: Annotated[NodeQuery, Query()]) -> NodePage:
    """The nodes of a dispatch, by their number; or the one with `node_id`."""
    store.get_dispatch(dispatch_id)
    window = asked.model_dump(exclude={"node_id"})
    if asked.node_id is None:
        rows, total = store.list_nodes(dispatch_id, **window)
    else:
        rows = store.get_nodes(dispatch_id, node_id=asked.node_id)
        total = len(rows)
    items = [Node.model_validate(row) for row in rows]
    return NodePage(items=items, total=total, limit=asked.limit, offset=asked.offset)


@router.get("/{dispatch_id}/graph")
def get_graph(store: TheStore, dispatch_id: str) -> Graph:
    """The graph of a dispatch, with positions."""
    store.get_dispatch(dispatch_id)
    nodes, edges = store.get_nodes(dispatch_id), store.get_edges(dispatch_id)
    index = {int(node["node_id"]): place for place, node in enumerate(nodes)}
    places = layered(len(nodes), [(index[source], index[target]) for source, target, _ in edges])
    return Graph(
        nodes=[
            PlacedNode.model_validate(
                {**node, "id": node["node_id"], "label": inert(node_label(node["name"]))}
                | {"x": x, "y": y}
            )
            for node, (x, y) in zip(nodes, places, strict=True)
        ],
        edges=[Edge(source=source, target=target, label=label) for source, target, label in edges],
    )


@router.get("/{dispatch_id}/wait")
async def wait(
    engine: TheEngine,
    dispatch_id: str,
    timeout: Annotated[float, Query(ge=0, le=60)] = 30.0,
    whole: Annotated[bool, Query()] = False,
) -> Waited:
    """Answer when the dispatch has ended, or after `timeout` seconds; `whole` adds all about it."""
    status = await engine.wait(dispatch_id, timeout)
    read = engine.store.get_dispatch
    found = await asyncio.to_thread(read, dispatch_id) if whole else None
    return Waited(
        id=dispatch_id,
        status=status,
        finished=Status.is_terminal(status),
        dispatch=None if found is None else Dispatch.model_validate(found),
    )


@router.post("/{dispatch_id}/cancel")
async def cancel(engine: TheEngine, dispatch_id: str, request: CancelRequest) -> Cancelled:
    """Cancel a dispatch, or some of its nodes."""
    outcome = await engine.cancel(dispatch_id, request.node_ids)
    return Cancelled(id=dispatch_id, outcome=outcome)


@router.delete("/{dispatch_id}", status_code=204)
async def delete(engine: TheEngine, dispatch_id: str) -> None:
    """Delete a dispatch that has ended, with its sublattices and results."""
    await engine.delete(dispatch_id)


def _decoded(blobs: object) -> dict[str, bytes]:
    try:
        if not isinstance(blobs, Mapping):
            raise TypeError("it is not an object")
        pairs = cast("Mapping[str, str]", blobs).items()
        return {digest: base64.b64decode(text, validate=True) for digest, text in pairs}
    except (TypeError, ValueError, binascii.Error) as error:
        reason = f"'blobs' must map digests to base64 text: {error}."
        raise InvalidRequest(reason=reason) from error
