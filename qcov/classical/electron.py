"""Electrons: functions marked as tasks.

Outside a lattice an electron is the plain function. Inside one, calling it adds a node and returns
an `ElectronOutput` that stands for the value.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast, overload

from qcov.classical.builder import building
from qcov.classical.executors.base import (
    LATER,
    BaseExecutor,
    check_function,
    check_setting,
    refuse_later,
)
from qcov.classical.executors.registry import executor_dict
from qcov.classical.outputs import ElectronOutput
from qcov.errors import NotYetSupported, WrongArguments


class Electron:
    """A function marked as a task; made by `@ct.electron`.

    `executor`, `retries`, `retry_delay` and `time_limit` may be changed until the lattice that
    uses the electron is dispatched.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        executor: str | BaseExecutor | None = None,
        retries: int | None = None,
        retry_delay: float | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.function = function
        self.metadata: dict[str, Any] = {
            "executor": executor,
            "retries": retries,
            "retry_delay": retry_delay,
            "time_limit": time_limit,
        }
        for name, value in self.metadata.items():
            _check(name, value)
        functools.update_wrapper(self, function, updated=())
        self._signature = _signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function; inside a lattice, add a node instead."""
        builder = building()
        if builder is None:
            return self.function(*args, **kwargs)
        runs = builder.standing_for(self)
        runs._check_arguments(args, kwargs)
        return builder.call(runs.function, runs.name, runs.metadata, args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Methods can be electrons: the instance becomes their first argument."""
        return self if instance is None else functools.partial(self, instance)

    @property
    def name(self) -> str:
        """The name of its nodes."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def executor(self) -> str | BaseExecutor | None:
        """Where it runs; None for what the lattice says."""
        return self.metadata["executor"]

    @executor.setter
    def executor(self, executor: str | BaseExecutor | None) -> None:
        self.set_metadata("executor", executor)

    def get_metadata(self, name: str) -> Any:
        """A setting by its name, None if it is not set."""
        return self.metadata.get(name)

    def set_metadata(self, name: str, value: Any) -> None:
        """Change a setting."""
        _check(name, value)
        self.metadata[name] = value

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let a wrong call fail where it stands, not in a worker."""
        if self._signature is None:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise WrongArguments(
                electron=self.name, signature=str(self._signature), reason=str(error)
            ) from None

    def __repr__(self) -> str:
        return f"<electron {self.name}>"


def _check(name: str, value: Any) -> None:
    """Report a wrong setting where it was given, not when it is used."""
    if name in LATER:
        raise NotYetSupported(feature=name)
    if name in ("retries", "retry_delay", "time_limit"):
        check_setting(name, value)
    elif name == "executor" and value is not None:
        executor_dict(value)


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # C functions may not have one
        return None


@overload
def electron(function: Callable[..., Any], /) -> Electron: ...


@overload
def electron(
    function: None = None,
    /,
    *,
    executor: str | BaseExecutor | None = None,
    retries: int | None = None,
    retry_delay: float | None = None,
    time_limit: float | None = None,
) -> Callable[[Callable[..., Any]], Electron]: ...


def electron(
    function: Callable[..., Any] | None = None,
    /,
    *,
    executor: str | BaseExecutor | None = None,
    retries: int | None = None,
    retry_delay: float | None = None,
    time_limit: float | None = None,
    **later: object,
) -> Electron | Callable[[Callable[..., Any]], Electron]:
    """Mark a function as a task.

    Outside a lattice it stays the plain function. A lattice can be an electron of another one: its
    graph is then built when it runs, and it appears as a dispatch of its own.

    Args:
        function: The function, or a lattice.
        executor: Where it runs: a name or an executor; the lattice's by default.
        retries: How often it is tried again after a failure.
        retry_delay: Seconds between two tries.
        time_limit: Seconds after which its process is stopped.
        **later: Covalent's further settings; they are refused by name.

    Raises:
        InvalidExecutor: `executor` is not an executor, or nobody knows its name.
        WrongSetting: one of the numbers cannot be.
        NotYetSupported: a setting of Covalent's would have no effect.

    >>> @electron(retries=2)
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """
    refuse_later(later)

    def decorate(function: Callable[..., Any]) -> Electron:
        inner = function.function if isinstance(function, Electron) else function
        check_function("electron", inner)
        return Electron(
            inner,
            executor=executor,
            retries=retries,
            retry_delay=retry_delay,
            time_limit=time_limit,
        )

    return decorate if function is None else decorate(function)


def wait(
    child: ElectronOutput, parents: ElectronOutput | Iterable[ElectronOutput]
) -> ElectronOutput:
    """Let `child` start only after `parents` have completed; returns `child`.

    Where a lattice runs as plain Python, all has happened in order already.
    """
    inside = isinstance(cast("object", child), ElectronOutput)
    return child.wait_for(parents) if inside else child
