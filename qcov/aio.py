"""The verbs for code in an asyncio event loop: they do not block it.

>>> import asyncio, qcov as ct
>>> async def main(workflow):
...     dispatch_id = await ct.aio.dispatch(workflow)(3)
...     return await ct.aio.get_result(dispatch_id, wait=True)
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from qcov.classical import dispatch as verbs
from qcov.classical.lattice import Lattice
from qcov.classical.result import Result

T = TypeVar("T")

__all__ = ["cancel", "dispatch", "dispatch_sync", "get_result", "redispatch"]


def dispatch(lattice: Lattice, *settings: Any, **more: Any) -> Callable[..., Awaitable[str]]:
    """`qcov.dispatch`, awaitable."""
    return _awaitable(verbs.dispatch(lattice, *settings, **more))


def dispatch_sync(
    lattice: Lattice, *settings: Any, **more: Any
) -> Callable[..., Awaitable[Result]]:
    """`qcov.dispatch_sync`, awaitable."""
    return _awaitable(verbs.dispatch_sync(lattice, *settings, **more))


def redispatch(dispatch_id: str, *settings: Any, **more: Any) -> Callable[..., Awaitable[str]]:
    """`qcov.redispatch`, awaitable."""
    return _awaitable(verbs.redispatch(dispatch_id, *settings, **more))


async def get_result(dispatch_id: str, *settings: Any, **more: Any) -> Any:
    """`qcov.get_result`, awaitable."""
    return await _awaitable(verbs.get_result)(dispatch_id, *settings, **more)


async def cancel(dispatch_id: str, *settings: Any, **more: Any) -> str:
    """`qcov.cancel`, awaitable."""
    return await _awaitable(verbs.cancel)(dispatch_id, *settings, **more)


def _awaitable(function: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    """Run `function` in a thread of its own.

    Waiting for hours must not use up a pool's threads, and an exiting interpreter joins those.
    """

    async def call(*args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                value = context.run(function, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # handed to whoever awaits
                _settle(loop, future.set_exception, future, error)
            else:
                _settle(loop, future.set_result, future, value)

        threading.Thread(target=work, name="qcov-aio", daemon=True).start()
        return await future

    return call


def _settle(
    loop: asyncio.AbstractEventLoop,
    setter: Callable[[Any], None],
    future: asyncio.Future[Any],
    value: object,
) -> None:
    def settle() -> None:
        if not future.done():  # nobody awaits it any more
            setter(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
