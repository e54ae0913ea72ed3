"""Which dispatch and node am I in?

The classical half sets it around an electron, the quantum half reads it to say who asked for a
circuit, and recognises a value that is not there yet. It is the one place where the halves meet
besides `qcov.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


class Try:
    """One time that an electron runs; another time is another one."""


def _alone() -> None:
    """Nobody minds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The electron that runs here."""

    dispatch_id: str
    node_id: int
    electron: str  #: the node's name
    cores: int = 1  #: this worker's share of the machine
    traceparent: str | None = None  #: its span (https://www.w3.org/TR/trace-context), if traced
    #: Called when it waits for another dispatch: who runs it may let others run meanwhile.
    waits: Callable[[], None] = field(default=_alone, compare=False, repr=False)
    once: Try = field(default_factory=Try, compare=False, repr=False)


class Pending:
    """Stands for a value that an electron will have, while the graph of a lattice is built."""

    def __electron__(self) -> str:
        """The name of the electron."""
        raise NotImplementedError


_current: ContextVar[Context | None] = ContextVar("qcov_context", default=None)
_process: Context | None = None


def get_context() -> Context | None:
    """The electron that runs here, or None outside a dispatch.

    Threads that an electron starts see it too: a worker process runs one electron at a time.

    >>> get_context() is None
    True
    """
    return _current.get() or _process


@contextmanager
def running(context: Context) -> Generator[Context, None, None]:
    """Make `context` the current one; restored on the way out, whatever happens."""
    global _process
    token, before = _current.set(context), _process
    _process = context
    try:
        yield context
    finally:
        _process = before
        _current.reset(token)
