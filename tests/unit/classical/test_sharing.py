"""What engines ask of each other, with a store in memory."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from qcov.classical.engine.sharing import Sharing


class Asked:
    """The leases and rows of one dispatch, whose owner heeds what it is asked as soon as it may."""

    seconds = 30.0

    def __init__(self, request: list[int] | None) -> None:
        self.request = request
        self.heeded: list[list[int] | None] = []
        self.leases = self

    def ask_to_cancel(self, _dispatch_id: str, nodes: list[int] | None) -> bool:
        if self.request is None:
            self.request = nodes
            return True
        self._heed()  # just after it was seen that there is another request
        return False

    def _heed(self) -> None:
        self.heeded.append(self.request)
        self.request = None

    def status(self, _dispatch_id: str) -> str:
        return "RUNNING"

    def get_nodes(self, _dispatch_id: str) -> list[dict[str, int]]:
        return [{"node_id": 1}, {"node_id": 2}]

    def get_dispatch(self, _dispatch_id: str) -> dict[str, Any]:
        row = {"cancel_requested": self.request}
        if self.request is not None:
            self._heed()
        return row


def test_a_request_is_not_taken_for_the_one_before_it() -> None:
    store: Any = Asked([1])
    engine: Any = SimpleNamespace()

    async def ask() -> None:
        sharing = Sharing(engine, engine, store)
        await sharing.cancel("d", [2])
        sharing.close()

    asyncio.run(ask())
    assert store.heeded == [[1], [2]]
