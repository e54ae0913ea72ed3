"""An electron's function together with what runs before and after it, where it runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qcov.classical.forked import OnlyParent
from qcov.transport import TransportableObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A function that runs before or after an electron's own.

    Args:
        name: What people see of it.
        keyword: The electron's argument that gets what it returns; may be empty.
    """

    name: str
    function: Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any]
    keyword: str = ""

    def run(self) -> Any:
        """What it returns; an error says which step it happened in."""
        with told_of(self.name):
            return called(self.function, self.args, self.kwargs)


@contextmanager
def told_of(name: str) -> Generator[None, None, None]:
    """Let errors say which step they happened in."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"This happened in {name} of the electron.")
        raise


class Prepared:
    """A function that does all that belongs to an electron when it is called.

    Args:
        function: The electron's own.
        before: Steps; what they return becomes arguments. Several for one argument make a list.
        after: Steps that follow it.
    """

    def __init__(
        self, function: Callable[..., Any], before: Sequence[Step], after: Sequence[Step]
    ) -> None:
        self._function, self._before, self._after = function, before, after
        self.__name__ = str(getattr(function, "__name__", type(function).__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the steps and the function; return what the function does."""
        kwargs |= _given([(step.keyword, step.run()) for step in self._before])
        value = called(self._function, args, kwargs)
        for step in self._after:
            step.run()
        return value


def _given(values: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, list[Any]] = {}
    for keyword, value in values:
        if keyword:
            given.setdefault(keyword, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in given.items()}


def called(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a user's function returns, or what its coroutine comes to.

    A process that it has forked, and that returns from it too, ends there.
    """
    with OnlyParent():
        value = function(*args, **kwargs)
        return asyncio.run(_alone(value)) if inspect.iscoroutine(value) else value


async def _alone(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with OnlyParent():  # a child must not come back to a loop that is its parent's
        return await coroutine


# -- for executors of users' own -----------------------------------------------------------------


class Arguments(list[Any]):
    """The arguments that an executor is given for an electron."""


class Keywords(dict[str, Any]):
    """The keyword arguments that an executor is given for an electron."""


def wrapper_fn(
    function: Any,
    call_before: Sequence[Step],
    call_after: Sequence[Step],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Put an electron's steps around its function.

    Given the very `args` and `kwargs` that an executor's `execute` was called with, it returns a
    `TransportableObject` of a function that takes them. Given the arguments one by one, it runs
    steps and function and returns what the function does; this form can be pickled with its
    arguments and run elsewhere.

    >>> wrapper_fn(max, [], [], 1, 3)
    3
    """
    inner = function.get_deserialized() if isinstance(function, TransportableObject) else function
    prepared = Prepared(inner, call_before, call_after)
    if len(args) == 2 and isinstance(args[0], Arguments) and isinstance(args[1], Keywords):
        return TransportableObject(prepared)
    return prepared(*args, **kwargs)
