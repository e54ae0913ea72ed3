"""What belongs to one dispatch: itself, and its sublattices, however deep.

Somebody may have been let in to see one dispatch and nothing else. Whatever is not known here to
belong to it does not: a new page or list is closed to them until it says so.
"""

from __future__ import annotations

import asyncio
import re

from qcov.errors import DispatchNotFound
from qcov_server.engine import Engine

_BELOW = re.compile(r"(?:/api/v1)?/dispatches/([^/]+)(?:/.*)?", re.DOTALL)
_DEEPEST = 1000  # sublattices in each other that are looked through
_EVENTS = "/api/v1/events"  # they are chosen one by one, see `streams.Wanted`


class Bounds:
    """Which addresses are those of a dispatch.

    Args:
        engine: Where the dispatches are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def hold(self, path: str, dispatch_id: str) -> bool:
        """Whether an address tells of this dispatch alone."""
        if path.startswith("/static/") or path == _EVENTS:
            return True
        match = _BELOW.fullmatch(path)
        if match is None:
            return False
        asked = match[1]
        return asked == dispatch_id or await asyncio.to_thread(self._is_part, asked, dispatch_id)

    def _is_part(self, asked: str, dispatch_id: str) -> bool:
        get = self._engine.store.get_dispatch
        try:
            row, root = get(asked), get(dispatch_id)["root_id"]
            if row["root_id"] != root:
                return False
            if dispatch_id == root:
                return True
            for _ in range(_DEEPEST):
                if row["parent_id"] in (None, dispatch_id):
                    break
                row = get(row["parent_id"])
        except DispatchNotFound:
            return False
        return bool(row["parent_id"] == dispatch_id)
