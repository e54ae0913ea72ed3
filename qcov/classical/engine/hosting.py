"""An executor of a user's own at work: in a worker process, with one electron."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from qcov.classical.executors.base import AsyncBaseExecutor, BaseExecutor
from qcov.classical.forked import OnlyParent
from qcov.classical.prepared import Arguments, Keywords, Prepared, Step
from qcov.transport import TransportableObject

_STREAMS = (1, 2)  # where stdout and stderr stand in what `execute` returns
_SOON = 0.3  # seconds: a trigger that raises at once has done so by then
_LEAVING = 2.0  # seconds for `run` to come to its end after `cancel`


class Hosted:
    """One electron on an executor.

    Args:
        executor: The executor; nobody else uses this object.
        metadata: `dispatch_id`, `node_id` and `results_dir`.
    """

    def __init__(self, executor: Any, metadata: Mapping[str, Any]) -> None:
        self._executor: Any = executor
        self._metadata = dict(metadata)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done = threading.Event()

    def run(
        self,
        function: Callable[..., Any],
        steps: Mapping[str, Sequence[Step]],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Let the executor run an electron; return the electron's value."""
        execute = self._executor.execute
        try:
            given = self._taken_by(execute, function, steps, args=args, kwargs=kwargs)
            with OnlyParent():
                value = execute(**given)
                if inspect.iscoroutine(value):
                    value = asyncio.run(self._awaited(value))
            if _is_own(self._executor):
                value = _unpacked(value)
            return value.get_deserialized() if isinstance(value, TransportableObject) else value
        finally:
            self._done.set()

    def _taken_by(
        self,
        execute: Callable[..., Any],
        function: Callable[..., Any],
        steps: Mapping[str, Sequence[Step]],
        **arguments: Any,
    ) -> dict[str, Any]:
        """What `execute` is given: a user's own may take fewer, and the steps separately."""
        parameters = inspect.signature(execute).parameters
        given: dict[str, Any] = {
            **self._metadata,
            "args": Arguments(arguments["args"]),
            "kwargs": Keywords(arguments["kwargs"]),
        }
        before, after = steps.get("before", ()), steps.get("after", ())
        if "call_before" in parameters:
            given["function"] = TransportableObject(function)
            given |= {"call_before": list(before), "call_after": list(after)}
        else:
            given["function"] = Prepared(function, before, after)
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return given
        return {name: value for name, value in given.items() if name in parameters}

    async def _awaited(self, value: Any) -> Any:
        self._loop = asyncio.get_running_loop()
        with OnlyParent():
            return await value

    def cancel(self) -> None:
        """Have the work stopped; called in another thread. Returns when `run` may be ended."""
        executor = self._executor
        executor._cancel_requested = True
        try:
            with OnlyParent():
                stopped = self._ask_to_cancel()
        except Exception as error:  # noqa: BLE001  # the user's own code
            stopped = f"raised {type(error).__name__}: {error}"
        if stopped is not True:
            name = type(executor).__name__
            note = f"[{name}.cancel did not say that the work is stopped: {stopped!r}]\n"
            sys.stderr.write(note)
        self._done.wait(_LEAVING)

    def _ask_to_cancel(self) -> Any:
        executor = self._executor
        if "info_dict" in inspect.signature(executor.cancel).parameters:
            answer = executor.cancel({})
        else:
            answer = executor.cancel(self._metadata, getattr(executor, "_job_handle", None))
        if not inspect.iscoroutine(answer):
            return answer
        if self._loop is None or self._loop.is_closed():
            return asyncio.run(answer)
        return asyncio.run_coroutine_threadsafe(answer, self._loop).result()

    def write_streams(self, texts: Sequence[str]) -> None:
        """Have what the electron printed written to the executor's files."""
        executor: Any = self._executor
        paths = (executor.log_stdout, executor.log_stderr)
        dispatch_id, folder = self._metadata["dispatch_id"], self._metadata["results_dir"]
        written = executor.write_streams_to_file(texts, paths, dispatch_id, folder)
        if inspect.iscoroutine(written):
            asyncio.run(written)


class Watching:
    """A trigger at work.

    Args:
        trigger: The trigger; nobody else uses this object.
    """

    def __init__(self, trigger: Any) -> None:
        self._trigger = trigger
        trigger._watches = True
        self._ended = threading.Event()

    def run(self, *, ready: Callable[[], None]) -> None:
        """Watch until it is cancelled, or has ended by itself.

        Args:
            ready: Called when it watches, as far as can be known; maybe in another thread.
        """
        try:
            self._observe(ready)
        except BaseException:
            with contextlib.suppress(Exception):  # it watches anew, maybe in this process
                self._stop()
            raise

    def _observe(self, ready: Callable[[], None]) -> None:
        soon = threading.Timer(_SOON, ready)
        if self._trigger.observe_blocks:
            soon.start()
        try:
            with OnlyParent():
                self._trigger.observe()
        finally:
            soon.cancel()
        if not self._trigger.observe_blocks:
            ready()
            self._ended.wait()

    def _stop(self) -> None:
        with OnlyParent():
            self._trigger.stop()

    def cancel(self) -> None:
        """End watching; called in another thread."""
        self._stop()
        self._ended.set()

    def write_streams(self, texts: Sequence[str]) -> None:
        """Triggers have no files for what they print."""


def _is_own(executor: object) -> bool:
    """True if the user wrote `execute`, rather than `run`."""
    kind: Any = type(executor)
    return kind.execute not in (BaseExecutor.execute, AsyncBaseExecutor.execute)


def _unpacked(returned: Any) -> Any:
    """The value in what a user's own `execute` returned, with the streams and error beside it."""
    parts = cast("tuple[Any, ...]", returned)
    if type(parts) is not tuple or len(parts) not in (3, 4):
        return parts
    if not all(parts[at] is None or isinstance(parts[at], str) for at in _STREAMS):
        return parts
    for at, stream in zip(_STREAMS, (sys.stdout, sys.stderr), strict=True):
        stream.write(parts[at] or "")
    error = parts[3] if len(parts) == 4 else None
    if isinstance(error, BaseException):
        raise error
    return parts[0]
