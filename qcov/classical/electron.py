"""Electrons: functions marked as tasks.

Outside a lattice an electron is the plain function. Inside one, calling it adds a node and returns
an `ElectronOutput` that stands for the value.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Unpack, cast, overload

from qcov.classical.builder import building
from qcov.classical.executors.base import BaseExecutor, check_function
from qcov.classical.metadata import (
    ELECTRON,
    ElectronSettings,
    checked,
    checked_one,
    counted,
    injected,
)
from qcov.classical.outputs import ElectronOutput
from qcov.errors import WrongArguments


class Electron:
    """A function marked as a task; made by `@ct.electron`.

    Its settings may be changed until the lattice that uses the electron is dispatched.
    """

    def __init__(self, function: Callable[..., Any], **settings: Unpack[ElectronSettings]) -> None:
        self.function = function
        self.metadata: dict[str, Any] = checked(settings, ELECTRON)
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
        self.metadata[name] = checked_one(name, value)

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let a wrong call fail where it stands, not in a worker."""
        if self._signature is None:
            return
        try:
            self._signature.bind(*args, **(kwargs | injected(self.metadata)))
        except TypeError as error:
            raise WrongArguments(
                electron=self.name, signature=str(self._signature), reason=str(error)
            ) from None

    def __qcov_key__(self) -> object:
        """What keys of it are made from: how often it is tried, say, is not in it."""
        return self.function, counted(self.metadata)

    def __repr__(self) -> str:
        return f"<electron {self.name}>"


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # C functions may not have one
        return None


@overload
def electron(function: Callable[..., Any], /, **settings: Unpack[ElectronSettings]) -> Electron: ...


@overload
def electron(
    function: None = None, /, **settings: Unpack[ElectronSettings]
) -> Callable[[Callable[..., Any]], Electron]: ...


def electron(
    function: Callable[..., Any] | None = None, /, **settings: Unpack[ElectronSettings]
) -> Electron | Callable[[Callable[..., Any]], Electron]:
    """Mark a function as a task.

    Outside a lattice it stays the plain function. A lattice can be an electron of another one: its
    graph is then built when it runs, and it appears as a dispatch of its own.

    Args:
        function: The function, or a lattice.
        **settings: What is not said here is as the lattice says, where it can say it.

            * `executor`: where it runs, a name or an executor.
            * `deps_bash`: shell commands that run before it, as text or as a `DepsBash`.
            * `deps_pip`: packages that it needs, as text or as a `DepsPip`.
            * `call_before`, `call_after`: functions that run before and after it in its process,
              as they are or as a `DepsCall`.
            * `retries`: how often it is tried again after a failure.
            * `retry_delay`: seconds between two tries.
            * `time_limit`: seconds after which its process is stopped.
            * `cache`: whether an equal call, with the same code and inputs, may have the value of
              this one in place of running.

    Raises:
        InvalidExecutor: `executor` is not an executor, or nobody knows its name.
        WrongSetting: a setting has a value that cannot be.
        NotYetSupported: a setting of Covalent's would have no effect.

    >>> @electron(retries=2)
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """
    checked(settings, ELECTRON)  # a wrong one is reported where it was given

    def decorate(function: Callable[..., Any]) -> Electron:
        inner = function.function if isinstance(function, Electron) else function
        check_function("electron", inner)
        return Electron(inner, **settings)

    return decorate if function is None else decorate(function)


def wait(
    child: ElectronOutput, parents: ElectronOutput | Iterable[ElectronOutput]
) -> ElectronOutput:
    """Let `child` start only after `parents` have completed; returns `child`.

    Where a lattice runs as plain Python, all has happened in order already.
    """
    inside = isinstance(cast("object", child), ElectronOutput)
    return child.wait_for(parents) if inside else child
