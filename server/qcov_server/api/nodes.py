"""All that is known of one node."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from qcov_server.api.models.nodes import WholeNode
from qcov_server.depends import TheStore
from qcov_server.electrons import electron

router = APIRouter(prefix="/dispatches", tags=["dispatches"])

NodeNumber = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get("/{dispatch_id}/nodes/{node_id}")
def get_node(store: TheStore, dispatch_id: str, node_id: NodeNumber) -> WholeNode:
    """One node: its tries, its code, where it runs, and where its inputs come from."""
    found = electron(store, dispatch_id, node_id)
    limits = ("retries", "retry_delay", "time_limit")
    return WholeNode.model_validate(
        {
            **found.row,
            **{name: found.described[name] for name in limits if name in found.described},
            "attempts": found.attempts,
            "source": found.source,
            "settings": found.settings,
            "packages": found.packages,
            "steps": found.steps,
            "inputs": [{**one.node, "argument": one.argument} for one in found.inputs],
            "inputs_left_out": found.inputs_left_out,
            "size": found.size,
        }
    )
