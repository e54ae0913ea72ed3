"""What `run_later` returns, and how to wait for many.

NumPy's values are run in the background from the moment of the call. Values that somebody
differentiates or traces, or that live in Torch or JAX, are *bound*: the circuit is built at the
call, and the first question to any future runs all that wait, as one batch, in the thread of
whoever asks. Only there does the framework see what it has to differentiate.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, cast


class CircuitFuture(concurrent.futures.Future[Any]):
    """The result of a circuit, sooner or later. It may be passed between threads.

    `result(timeout)`, `exception`, `done`, `running`, `cancel` and `add_done_callback` are those of
    `concurrent.futures.Future`; `await future` works in asyncio.
    """

    def __init__(self, bind: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._bind = bind
        self.hurry: Callable[[], None] | None = None  #: runs in this thread what waits elsewhere
        self.withdraw: Callable[[], None] | None = None  #: takes it out of the queue

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the circuit's value; raises what went wrong, every time."""
        self._press(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for what went wrong, if anything did."""
        self._press(timeout)
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Take the circuit out of its queue; False if it runs or has run."""
        if not super().cancel():
            return False
        withdraw, self.withdraw, self.hurry, self._bind = self.withdraw, None, None, None
        if withdraw is not None:
            withdraw()
        return True

    def done(self) -> bool:
        """Whether the value is there. Runs a bound circuit, so that asking again ends."""
        self.start()
        return super().done()

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        """Call `fn` with this future once it is done. Runs a bound circuit."""
        super().add_done_callback(fn)
        self.start()

    def start(self) -> None:
        """Run the circuit if it waits to be bound; return at once otherwise."""
        bind, self._bind = self._bind, None
        if bind is not None and not super().done():
            bind()

    def _press(self, timeout: float | None) -> None:
        self.start()
        if timeout is None and self.hurry is not None and not super().done():
            self.hurry()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()


def gather(*futures: Any, timeout: float | None = None) -> list[Any]:
    """Wait for all futures and return their results in order; raises the first error.

    Args:
        futures: Futures, or one iterable of them.
        timeout: Seconds to wait for each of them; for ever by default.

    Example:
        >>> ready = CircuitFuture()
        >>> ready.set_result(0.5)
        >>> gather(ready, ready), gather([ready])
        ([0.5, 0.5], [0.5])
    """
    return [future.result(timeout) for future in _flat(futures)]


def as_completed(
    futures: Iterable[CircuitFuture], timeout: float | None = None
) -> Iterator[CircuitFuture]:
    """Give futures in the order in which they are done.

    Raises:
        TimeoutError: They are not all done `timeout` seconds after the first question.
    """
    waiting = list(futures)
    for future in waiting:
        future.start()
    return cast("Iterator[CircuitFuture]", concurrent.futures.as_completed(waiting, timeout))


def _flat(futures: tuple[Any, ...]) -> Iterable[CircuitFuture]:
    if len(futures) == 1 and not isinstance(futures[0], concurrent.futures.Future):
        return cast("Iterable[CircuitFuture]", futures[0])
    return futures
