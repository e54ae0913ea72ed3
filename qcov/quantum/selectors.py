"""Who runs a circuit: callables `(circuit, executors) -> executor`."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from qcov.errors import SelectorError, suggest
from qcov.qexecutors.base import BaseQExecutor, Circuit

Selector: TypeAlias = Callable[[Circuit, Sequence[BaseQExecutor]], BaseQExecutor]


class Cyclic:
    """Take the executors in turn. Safe under threads; every cluster has one of its own."""

    def __init__(self) -> None:
        self._turn = 0
        self._lock = threading.Lock()

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the next executor."""
        with self._lock:
            turn, self._turn = self._turn, self._turn + 1
        return executors[turn % len(executors)]

    def __reduce__(self) -> tuple[type[Cyclic], tuple[()]]:
        return Cyclic, ()


class Random:
    """Take any of the executors, each as likely as the others."""

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick an executor."""
        return random.choice(executors)


_NAMED: dict[str, Callable[[], Selector]] = {"cyclic": Cyclic, "random": Random}


def check_selector(selector: object) -> None:
    """Raise `SelectorError` for what cannot choose: a wrong name, or not such a callable.

    >>> check_selector("cyclic")
    >>> check_selector(lambda circuit, executors: executors[0])
    """
    if isinstance(selector, str):
        named_selector(selector)
    elif isinstance(selector, type) or not callable(selector):
        call = " Call it to make one." if isinstance(selector, type) else ""
        raise SelectorError(selector=repr(selector), reason=f"cannot choose.{call} {_ADVICE}")
    elif not _takes_two(selector):
        reason = f"does not take two arguments, a circuit and a list of executors. {_ADVICE}"
        raise SelectorError(selector=repr(selector), reason=reason)


_ADVICE = "Give 'cyclic', 'random' or a function (circuit, executors) -> executor."


def _takes_two(selector: Callable[..., object]) -> bool:
    try:
        signature = inspect.signature(selector)
    except (TypeError, ValueError):  # C functions may not have one
        return True
    try:
        signature.bind(None, ())
    except TypeError:
        return False
    return True


def named_selector(name: str) -> Selector:
    """A new selector of that name.

    >>> named_selector("cyclic")(None, ["a", "b"])
    'a'
    """
    if name not in _NAMED:
        raise SelectorError(selector=repr(name), reason=f"is unknown. {suggest(name, _NAMED)}")
    return _NAMED[name]()
