"""Whether the derivative or compilation that a value belongs to still goes on.

Autograd and JAX differentiate by calling a function with values of their own. Such a value means
nothing after the function has returned, yet autograd computes with it without a word. Torch has no
such values: there a derivative can be asked for at any time.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

from autograd import tracer as autograd_tracer

from qcov.quantum.pennylane_values import all_values

_TRACE = autograd_tracer.trace.__code__


class Traces:
    """The derivatives and compilations that the values of one circuit belong to."""

    def __init__(self, tape: Any) -> None:
        values = all_values(tape)
        self._thread = threading.get_ident()
        boxes = [value for value in values if isinstance(value, autograd_tracer.Box)]
        self._frames = _frames_of(boxes) if boxes else ()
        tracers = _jax_tracers(values)
        self._traces = tuple({id(one._trace): one._trace for one in tracers}.values())

    @property
    def key(self) -> Hashable:
        """Tells the traces of circuits apart that must not be bound together."""
        return frozenset(map(id, (*self._frames, *self._traces)))

    def are_over(self) -> bool:
        """Whether one of them has ended, so that the circuit has no value any more."""
        if self._frames:
            running = {id(frame) for frame in _stack_of(self._thread)}
            if any(id(frame) not in running for frame in self._frames):
                return True
        if self._traces:
            current = _jax_current()
            return current is not None and any(one not in current for one in map(id, self._traces))
        return False

    def outside(self) -> AbstractContextManager[None]:
        """Where to compute: apart from a JAX trace around the question, if none was around this."""
        jax = sys.modules.get("jax")
        return nullcontext() if jax is None or self._traces else jax.ensure_compile_time_eval()


def _frames_of(boxes: Sequence[Any]) -> tuple[FrameType, ...]:
    """The calls of autograd's `trace` that made these boxes."""
    numbers = {box._trace for box in boxes}
    found: dict[int, FrameType] = {}
    for frame in _stack_of(threading.get_ident()):
        if frame.f_code is _TRACE:
            found.setdefault(frame.f_locals.get("t", -1), frame)  # the innermost of each number
    return tuple([found[number] for number in sorted(numbers) if number in found])


def _stack_of(thread: int) -> Iterator[FrameType]:
    frame = sys._current_frames().get(thread)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _jax_tracers(values: Sequence[Any]) -> list[Any]:
    jax = sys.modules.get("jax")
    if jax is None:
        return []
    return [value for value in values if isinstance(value, jax.core.Tracer)]


def _jax_current() -> set[int] | None:
    """The JAX traces of this thread; None where this version of JAX does not tell."""
    # What is public of it is to go, and what is private may.
    trace = getattr(getattr(sys.modules.get("jax._src.core"), "trace_ctx", None), "trace", None)
    found: set[int] = set()
    while trace is not None:
        found.add(id(trace))
        if type(trace).__name__ == "EvalTrace":
            return found
        trace = getattr(trace, "parent_trace", None)
    return None
