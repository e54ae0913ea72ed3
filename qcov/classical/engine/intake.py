"""How a dispatch comes in: whether it can run here, and its rows."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from qcov.classical.engine import outcomes
from qcov.classical.engine.channel import Message
from qcov.classical.engine.surroundings import surroundings
from qcov.errors import EnvironmentMismatch, InvalidRequest, QcovError
from qcov.store.changes import Changes
from qcov.store.store import Store
from qcov.transport import address
from qcov.wire import pack

if TYPE_CHECKING:
    from qcov.classical.engine.run import Run

#: Blobs have rows of their own; variables may be secrets; the rest is in the dispatch's row.
_NOT_STORED = ("blobs", "spilled", "variables", "held")


def settle_environment(environment: Message) -> None:
    """Refuse what cannot run here; fit what comes from another host to this one.

    Raises `EnvironmentMismatch`.
    """
    if environment["host"] != socket.gethostname():
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        if environment["python"] != here:
            raise EnvironmentMismatch(
                reason=f"it was built with Python {environment['python']} on "
                f"{environment['host']}, the engine has Python {here}",
                advice="Use the same minor version of Python on both machines.",
            )
        environment["host"] = socket.gethostname()  # where its sublattices are built
        environment["executable"] = sys.executable
        environment["cwd"] = str(Path.cwd())
        environment["sys_path"] = list(sys.path)
    if not os.access(environment["executable"], os.X_OK):
        raise EnvironmentMismatch(
            reason=f"the interpreter {environment['executable']} does not exist",
            advice="Was its virtual environment removed? Dispatch from one that exists.",
        )
    if not Path(environment["cwd"]).is_dir():
        raise EnvironmentMismatch(
            reason=f"the folder {environment['cwd']} does not exist",
            advice="Dispatch from a folder that exists.",
        )


@contextlib.contextmanager
def understanding() -> Generator[None, None, None]:
    """Refuse a manifest that is none, before any of it is stored. Raises `InvalidRequest`."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, QcovError):
            raise
        reason = f"its manifest describes no graph ({type(error).__name__}: {error})"
        raise InvalidRequest(reason=reason) from error


def add_dispatch(
    changes: Changes,
    store: Store,
    manifest: Message,
    dispatch_id: str,
    parent: tuple[Run, int] | None = None,
) -> Message:
    """Add the rows of a new dispatch to `changes`; return its own.

    Args:
        changes: What is to be committed.
        store: Where to.
        manifest: The graph.
        dispatch_id: The new dispatch's.
        parent: For a sublattice, the run and the node that it is for.
    """
    graph = {name: value for name, value in manifest.items() if name not in _NOT_STORED}
    packed = pack(graph)
    digest = address(packed)
    around = surroundings(manifest["environment"])
    row: Message = {
        "id": dispatch_id,
        "name": manifest["name"],
        "status": "NEW_OBJECT" if manifest.get("held") else "PENDING",
        "key": manifest.get("key"),
        "root_id": dispatch_id if parent is None else parent[0].root_id,
        "parent_id": None if parent is None else parent[0].id,
        "parent_node": None if parent is None else parent[1],
        "created": outcomes.now(),
        "inputs_repr": json.dumps(manifest["inputs_repr"]),
        "manifest": digest,
        "manifest_seal": store.seal(digest, dispatch_id, "manifest"),
        "nodes_total": len(manifest["nodes"]),
        "environment": around["digest"],
    }
    outcomes.add(changes, "dispatch", row)
    outcomes.add(changes, "environment", around)
    outcomes.add(changes, "blob", *(store.blob_row(*item) for item in manifest["blobs"].items()))
    # never as a file: the loop must not wait for a disk
    outcomes.add(changes, "blob", {"digest": digest, "size": len(packed), "data": packed})
    for name, size in manifest.get("spilled", {}).items():
        outcomes.add(changes, "blob", {"digest": name, "size": size, "data": None})
    nodes = outcomes.node_rows(dispatch_id, manifest, store.seal)
    if nodes:
        outcomes.add(changes, "node", *nodes)
    return row
