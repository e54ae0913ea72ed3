"""What every executor of electrons has, and the bases for executors of users' own.

An executor of a user's own runs in a worker process that is started for it, one electron at a
time, in the environment of the program: never in the engine.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, Self

from qcov.classical.checks import check_setting
from qcov.classical.forked import OnlyParent
from qcov.errors import WrongSetting, suggest

#: What Covalent has for "no limit".
_NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class DispatchInfo:
    """Which dispatch an executor works for."""

    dispatch_id: str


_dispatch_info: ContextVar[DispatchInfo | None] = ContextVar("qcov_dispatch_info", default=None)


class RaisedElsewhere(Exception):
    """An electron raised something in another process; the text is all that people are told."""


class AnyExecutor:
    """What executors of electrons have in common.

    Args:
        log_stdout: A file to which electrons' standard output is appended, besides being stored;
            relative to the dispatch's folder in the results folder.
        log_stderr: The same for standard error.
        cache_dir: Where the executor may keep files of its own.
        time_limit: Seconds after which an electron is stopped; None, or -1, for no limit.
        retries: How often an electron is tried again after a failure.
        conda_env: For executors that use a conda environment.
        current_env_on_conda_fail: For executors that use a conda environment.
    """

    #: The short name under which `executor="..."` finds the class.
    short_name: str = ""
    #: What the backend calls the task, and whether the task is to be given up.
    _job_handle: Any = None
    _cancel_requested: bool = False

    def __init__(
        self,
        *,
        log_stdout: str = "",
        log_stderr: str = "",
        cache_dir: str = "",
        time_limit: float | None = None,
        retries: int = 0,
        conda_env: str = "",
        current_env_on_conda_fail: bool = False,
        **unknown: Never,
    ) -> None:
        for name in unknown:
            what = type(self).__name__
            hint = suggest(name, {*_settings_of(type(self)), *_settings_of(AnyExecutor)})
            raise TypeError(f"{what} got an unexpected keyword argument {name!r}. {hint}")
        limit = None if time_limit == _NO_LIMIT else time_limit
        check_setting("time_limit", limit)
        check_setting("retries", retries)
        self.log_stdout, self.log_stderr, self.cache_dir = log_stdout, log_stderr, cache_dir
        self.time_limit, self.retries = limit, retries
        self.conda_env, self.current_env_on_conda_fail = conda_env, current_env_on_conda_fail

    def to_dict(self) -> dict[str, Any]:
        """The executor as data: its short name and its attributes."""
        return {"type": self.short_name or type(self).__name__, "attributes": self._attributes()}

    def from_dict(self, object_dict: Mapping[str, Any]) -> Self:
        """Take over the attributes of a dict that `to_dict` made; returns itself."""
        vars(self).update(object_dict["attributes"])
        return self

    @contextmanager
    def get_dispatch_context(
        self, dispatch_info: DispatchInfo
    ) -> Generator[DispatchInfo, None, None]:
        """Let code inside know which dispatch it works for."""
        token = _dispatch_info.set(dispatch_info)
        try:
            yield dispatch_info
        finally:
            _dispatch_info.reset(token)

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        defaults = vars(AnyExecutor())
        told = [
            f"{name}={value!r}"
            for name, value in self._attributes().items()
            if value != defaults.get(name)
        ]
        return f"{type(self).__name__}({', '.join(told)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AnyExecutor) or type(self) is not type(other):
            return False
        return self._attributes() == other._attributes()

    __hash__ = object.__hash__


def _settings_of(kind: type[AnyExecutor]) -> Iterator[str]:
    """What executors of a class can be told by name."""
    parameters = inspect.signature(kind).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return (one.name for one in parameters if one.kind in named)


class BaseExecutor(AnyExecutor):
    """The base for executors of your own: define `run`, or `execute`.

    The arguments are those that executors have in common: `log_stdout`, `log_stderr`, `cache_dir`,
    `time_limit`, `retries`.

    >>> class Here(BaseExecutor):
    ...     def run(self, function, args, kwargs, task_metadata):
    ...         return function(*args, **kwargs)
    >>> Here(retries=1).execute(max, [1, 3], {}, "some dispatch", "results")
    3
    """

    def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_metadata: Mapping[str, Any],
    ) -> Any:
        """Run an electron's function, with all that belongs to it, and return its value.

        Args:
            function: Does all of it when it is called; it can be pickled and called elsewhere.
            args: The electron's arguments.
            kwargs: Its keyword arguments.
            task_metadata: `dispatch_id`, `node_id` and `results_dir`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `run` or `execute`")

    def setup(self, task_metadata: Mapping[str, Any]) -> Any:
        """Runs before `run`. Nothing by default."""

    def teardown(self, task_metadata: Mapping[str, Any]) -> Any:
        """Runs after `run`, also when that has failed. Nothing by default."""

    def cancel(self, task_metadata: Mapping[str, Any], job_handle: Any) -> Any:  # noqa: ARG002
        """Stop what runs under this handle; called in another thread while `run` runs.

        Returns:
            True if it is stopped. Whatever it returns, the process of `run` is then ended.
        """
        return False

    def execute(  # noqa: PLR0917
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        dispatch_id: str,
        results_dir: str,
        node_id: int = -1,
    ) -> Any:
        """Set up, run and tear down; return the electron's value.

        An executor may define this in the place of `run`, also with `call_before` and `call_after`
        among its arguments: then `function` comes without them, as a `TransportableObject`. It
        returns the value, or `(value, stdout, stderr)`, or these with an exception or None.
        """
        metadata = {"dispatch_id": dispatch_id, "node_id": node_id, "results_dir": results_dir}
        with self.get_dispatch_context(DispatchInfo(dispatch_id)):
            with OnlyParent():
                self.setup(metadata)
            try:
                with OnlyParent():
                    value = self.run(function, args, kwargs, metadata)
            except BaseException as error:
                with _noted_at(error):
                    self.teardown(metadata)
                raise
            self.teardown(metadata)
            return value

    def set_job_handle(self, handle: Any) -> None:
        """Remember what the backend calls the task, for `cancel`: anything that JSON can say."""
        self._job_handle = _checked_handle(handle)

    def get_cancel_requested(self) -> bool:
        """Whether the task is to be given up: `run` should look at it while it waits."""
        return self._cancel_requested

    def write_streams_to_file(
        self,
        stream_strings: Iterable[str],
        filepaths: Iterable[str],
        dispatch_id: str,
        results_dir: str,
    ) -> None:
        """Append what an electron has printed to files."""
        append_streams(stream_strings, filepaths, Path(results_dir) / dispatch_id)


class AsyncBaseExecutor(AnyExecutor):
    """`BaseExecutor` with coroutines: define `async def run`.

    >>> class Here(AsyncBaseExecutor):
    ...     async def run(self, function, args, kwargs, task_metadata):
    ...         return function(*args, **kwargs)
    """

    async def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_metadata: Mapping[str, Any],
    ) -> Any:
        """Run an electron's function; see `BaseExecutor.run`."""
        raise NotImplementedError(f"{type(self).__name__} must define `run` or `execute`")

    async def setup(self, task_metadata: Mapping[str, Any]) -> Any:
        """Runs before `run`. Nothing by default."""

    async def teardown(self, task_metadata: Mapping[str, Any]) -> Any:
        """Runs after `run`, also when that has failed. Nothing by default."""

    async def cancel(self, task_metadata: Mapping[str, Any], job_handle: Any) -> Any:  # noqa: ARG002
        """Stop what runs under this handle; True if it is stopped. Runs beside `run`."""
        return False

    async def execute(  # noqa: PLR0917
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        dispatch_id: str,
        results_dir: str,
        node_id: int = -1,
    ) -> Any:
        """Set up, run and tear down; return the electron's value."""
        metadata = {"dispatch_id": dispatch_id, "node_id": node_id, "results_dir": results_dir}
        with self.get_dispatch_context(DispatchInfo(dispatch_id)):
            with OnlyParent():
                await self.setup(metadata)
            try:
                with OnlyParent():
                    value = await self.run(function, args, kwargs, metadata)
            except BaseException as error:
                with _noted_at(error):
                    await self.teardown(metadata)
                raise
            await self.teardown(metadata)
            return value

    async def set_job_handle(self, handle: Any) -> None:
        """Remember what the backend calls the task, for `cancel`: anything that JSON can say."""
        self._job_handle = _checked_handle(handle)

    async def get_cancel_requested(self) -> bool:
        """Whether the task is to be given up: `run` should look at it while it waits."""
        return self._cancel_requested

    async def write_streams_to_file(
        self,
        stream_strings: Iterable[str],
        filepaths: Iterable[str],
        dispatch_id: str,
        results_dir: str,
    ) -> None:
        """Append what an electron has printed to files."""
        append_streams(stream_strings, filepaths, Path(results_dir) / dispatch_id)


@contextmanager
def _noted_at(error: BaseException) -> Generator[None, None, None]:
    """Let what fails after an error be a note at it: the first one says what is wrong."""
    try:
        yield
    except Exception as later:  # noqa: BLE001  # the user's own code
        error.add_note(f"Then `teardown` raised {type(later).__name__}: {later}")


def append_streams(texts: Iterable[str], paths: Iterable[str], folder: Path) -> None:
    """Append texts to files; those without a name are left out."""
    for text, path in zip(texts, paths, strict=True):
        if path:
            target = folder / Path(path).expanduser()
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as file:
                file.write(text)


def _checked_handle(handle: Any) -> Any:
    try:
        return json.loads(json.dumps(handle))
    except (TypeError, ValueError) as error:
        raise WrongSetting(
            setting="a job handle", got=repr(handle), expected="something that JSON can say"
        ) from error
