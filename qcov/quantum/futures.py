"""What `run_later` returns, and how to wait for many.

NumPy's values are run in the background from the moment of the call. Values that somebody
differentiates or traces, or that live in Torch or JAX, are *bound*: the circuit is built at the
call, and the first question to any future runs all that wait, as one batch, in the thread of
whoever asks. Only there does the framework see what it has to differentiate.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import numbers
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, cast

from qcov.errors import CircuitError, NotAFuture, StaleFuture, WrongSetting
from qcov.progress import PACE, shown
from qcov.quantum import interrupts
from qcov.quantum.crew import away


class CircuitFuture(concurrent.futures.Future[Any]):
    """The result of a circuit, sooner or later. It may be passed between threads.

    `result(timeout)`, `exception`, `done`, `running`, `cancel` and `add_done_callback` are those of
    `concurrent.futures.Future`; `await future` works in asyncio.

    A future that was made inside a function which is being differentiated or compiled has a value
    only there: `result` raises `StaleFuture` afterwards. Torch knows no such limit.
    """

    def __init__(
        self,
        bind: Callable[[], None] | None = None,
        stale: Callable[[], StaleFuture | None] | None = None,
    ) -> None:
        super().__init__()
        self._bind = bind
        self._stale = stale
        self._process = os.getpid()
        self.hurry: Callable[[], None] | None = None  #: runs in this thread what waits elsewhere
        self.withdraw: Callable[[], object] | None = None  #: takes it out of the queue

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the circuit's value; raises what went wrong, every time."""
        timeout = checked_timeout(timeout)
        self._press(timeout)
        refused = super().done() and super().exception() is not None  # says more than that
        if not refused and (stale := self.stale()) is not None:
            raise stale
        with self._late(timeout):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for what went wrong, if anything did."""
        timeout = checked_timeout(timeout)
        self._press(timeout)
        with self._late(timeout):
            return super().exception(timeout)

    @contextmanager
    def _late(self, timeout: float | None) -> Generator[None, None, None]:
        """Say more than nothing where the time is over."""
        try:
            with away() if not super().done() else nullcontext():
                yield
        except TimeoutError as error:
            if error is self._exception:  # the circuit's own
                raise
            message = f"the circuit has not ended within {timeout:g} s; it goes on"
            raise TimeoutError(message) from None

    def cancel(self) -> bool:
        """Take the circuit out of its queue; False if it runs or has run."""
        if not super().cancel():
            return False
        withdraw, self.withdraw, self.hurry, self._bind = self.withdraw, None, None, None
        if withdraw is not None:
            withdraw()
        self.set_running_or_notify_cancel()  # nobody else will tell those who wait for it
        return True

    def set_running_or_notify_cancel(self) -> bool:
        """Say that the circuit starts to run; False if it was cancelled."""
        with self._condition:
            if self._state == "CANCELLED_AND_NOTIFIED":
                return False
            return super().set_running_or_notify_cancel()

    def done(self) -> bool:
        """Whether the value is there. Runs a bound circuit, so that asking again ends."""
        self.start()
        return super().done()

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        """Call `fn` with this future once it is done. Runs a bound circuit."""
        if str(getattr(fn, "__module__", "")).startswith("asyncio.tasks"):
            raise TypeError(
                "asyncio.wait takes tasks: give it asyncio.ensure_future(future) for each future"
            )
        super().add_done_callback(fn)
        self.start()

    def _invoke_callbacks(self) -> None:
        if cast("Any", self)._done_callbacks:
            afterwards(cast("Any", super())._invoke_callbacks)

    def start(self) -> None:
        """Run the circuit if it waits to be bound; return at once otherwise."""
        if self._process != os.getpid() and self._state in _UNFINISHED:
            reason = (
                "its future was made in the process that this one was forked from, and only that "
                "one gets the result. Call run_later here"
            )
            raise CircuitError(executor="a fork of this program", reason=reason)
        bind, self._bind = self._bind, None
        if bind is not None and not super().done():
            bind()

    def stale(self) -> StaleFuture | None:
        """Why it has no value any more, if its derivative is over."""
        return None if self._stale is None else self._stale()

    def _press(self, timeout: float | None) -> None:
        self.start()
        hurry = self.hurry  # None as soon as another thread has the result
        if timeout is None and hurry is not None and not super().done():
            hurry()

    def __reduce__(self) -> tuple[object, ...]:
        # As Python's own objects do it, so that whoever pickles can say what contains it.
        raise TypeError(
            "cannot pickle a CircuitFuture: it waits for a circuit of this process. "
            "Send its result() instead"
        )

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()


_UNFINISHED = ("PENDING", "RUNNING")


class _Later(threading.local):
    calls: list[Callable[[], object]] | None = None  #: of the user's code


_later = _Later()


@contextmanager
def calling_back_later() -> Generator[list[Callable[[], object]], None, None]:
    """Call the user's code, such as callbacks of futures, only when the block is left.

    It may wait for other futures. Whoever calls it must not be the one that has yet to fulfil them,
    nor keep others from running them.
    """
    outer = _later.calls
    if outer is not None:
        yield outer
        return
    _later.calls = waiting = list[Callable[[], object]]()
    try:
        yield waiting
    finally:
        _later.calls = None
        with ExitStack() as stack:  # one that is interrupted takes none of the others with it
            for call in reversed(waiting):
                stack.callback(_call_back, call)


@contextmanager
def calling_back_at_once() -> Generator[None, None, None]:
    """Call the user's code as ever: what runs here may wait for the futures of others."""
    outer, _later.calls = _later.calls, None
    try:
        yield
    finally:
        _later.calls = outer


def afterwards(call: Callable[[], object]) -> None:
    """Call the user's code when the block of `calling_back_later` is left; at once outside."""
    if _later.calls is None:
        _call_back(call)
    else:
        _later.calls.append(call)


def _call_back(call: Callable[[], object]) -> None:
    with interrupts.allowed():
        call()


def gather(*futures: Any, timeout: float | None = None, progress: bool | None = None) -> list[Any]:
    """Wait for all futures and return their results in order; raises the first error.

    Args:
        futures: Futures, or one iterable of them.
        timeout: Seconds to wait for all of them together; for ever by default.
        progress: Whether to show a bar in a terminal or a notebook after a second; by default what
            `sdk.progress` says.

    Raises:
        NotAFuture: There is something else among them; a TypeError.
        TimeoutError: They are not all done in time. They go on.

    Example:
        >>> ready = CircuitFuture()
        >>> ready.set_result(0.5)
        >>> gather(ready, ready), gather([ready])
        ([0.5, 0.5], [0.5])
    """
    timeout = checked_timeout(timeout)
    several = futures[0] if len(futures) == 1 else futures
    waiting = _checked(several, "gather")
    with shown("circuits", lambda: counted(waiting), progress):
        if timeout is None:
            return [future.result() for future in waiting]
        deadline = time.monotonic() + timeout
        return [future.result(max(0.0, deadline - time.monotonic())) for future in waiting]


def counted(
    futures: Sequence[concurrent.futures.Future[Any]],
) -> Iterator[tuple[int, int]]:
    """How many are done, of how many, again and again until all are.

    They are not started by that: their calls belong to other threads.
    """
    left, total = list(futures), len(futures)
    while left:
        began = time.perf_counter()
        left = [future for future in left if not _is_done(future)]
        yield total - len(left), total
        # to look at very many takes at most a small part of the time
        time.sleep(max(0.0, (time.perf_counter() - began - PACE) * _RARELY))


_RARELY = 20
_is_done: Callable[[concurrent.futures.Future[Any]], bool] = concurrent.futures.Future[Any].done


def as_completed(
    futures: Iterable[CircuitFuture], timeout: float | None = None
) -> Iterator[CircuitFuture]:
    """Give futures in the order in which they are done.

    Raises:
        NotAFuture: There is something else among them; a TypeError.
        TimeoutError: They are not all done `timeout` seconds after the first question.
    """
    timeout = checked_timeout(timeout)
    waiting = _checked(futures, "as_completed")
    for future in waiting:
        if isinstance(future, CircuitFuture):
            future.start()
    return cast("Iterator[CircuitFuture]", concurrent.futures.as_completed(waiting, timeout))


def checked_timeout(timeout: object) -> float | None:
    """Seconds to wait, or None for ever; `WrongSetting` for anything else."""
    if timeout is None:
        return None
    if isinstance(timeout, numbers.Real) and not math.isnan(timeout):
        return min(float(timeout), _LONGEST)
    raise WrongSetting(
        setting="timeout", got=repr(timeout), expected="a number of seconds, or None for ever"
    )


_LONGEST = 1e6  #: seconds; locks cannot wait much longer than this


def _checked(futures: object, verb: str) -> list[concurrent.futures.Future[Any]]:
    if isinstance(futures, concurrent.futures.Future):
        return [cast("concurrent.futures.Future[Any]", futures)]
    if not isinstance(futures, Iterable):
        raise NotAFuture(verb=verb, got=repr(futures))
    found = list(cast("Iterable[object]", futures))
    for future in found:
        if not isinstance(future, concurrent.futures.Future):
            raise NotAFuture(verb=verb, got=repr(future))
    return cast("list[concurrent.futures.Future[Any]]", found)
