"""What an engine reads from its store: at once from its own disk, in threads from a server.

A server may be slow, or away for a while: the loop does not stand still for it, and what follows
from a commit is not lost with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from qcov.classical.engine.channel import take_turn
from qcov.errors import QcovError, StoreUnavailable
from qcov.store.store import Store

_ASK_AGAIN = 0.5  # seconds between two tries while the server is away

T = TypeVar("T")


class Reading:
    """Questions to one store; any of its methods that reads can be asked.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._far = store.leases is not None
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, question: Callable[..., T], *arguments: Any) -> T:
        """Ask."""
        if self._far:
            return await asyncio.to_thread(question, *arguments)
        return question(*arguments)

    async def patiently(
        self, question: Callable[..., T], *arguments: Any, until: float | None = None
    ) -> T:
        """Ask, until a server that is away is back, or until then by the loop's clock."""
        if not self._far:
            return question(*arguments)
        return await self.at_length(question, *arguments, until=until)

    async def at_length(
        self, question: Callable[..., T], *arguments: Any, until: float | None = None
    ) -> T:
        """The same, in a thread in any case: it takes a while to answer."""
        while True:
            try:
                return await asyncio.to_thread(question, *arguments)
            except StoreUnavailable:
                if not self._far or (until is not None and _time() >= until):
                    raise
            left = _ASK_AGAIN if until is None else min(_ASK_AGAIN, until - _time())
            await asyncio.sleep(max(0.0, left))

    def then(
        self,
        question: Callable[..., T],
        *arguments: Any,
        follows: Callable[[T], None],
        refused: Callable[[QcovError], None],
    ) -> None:
        """Ask, and call `follows` with the answer, or `refused` with what is wrong.

        At once, or in another turn of the loop.
        """
        if self._far:
            asking = asyncio.create_task(self._answer(question, arguments, follows, refused))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            return None
        try:
            answer = question(*arguments)
        except QcovError as error:
            return refused(error)
        return follows(answer)

    async def _answer(
        self,
        question: Callable[..., T],
        arguments: tuple[Any, ...],
        follows: Callable[[T], None],
        refused: Callable[[QcovError], None],
    ) -> None:
        try:
            answer = await self.patiently(question, *arguments)
        except QcovError as error:
            take_turn(refused, error)
        else:
            take_turn(follows, answer)

    def close(self) -> None:
        """Wait for no answer any more."""
        for asking in self._asking:
            asking.cancel()


def _time() -> float:
    return asyncio.get_running_loop().time()
