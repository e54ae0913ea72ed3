"""Which span belongs to what: the identities of OpenTelemetry's spans, made without it.

A dispatch is a trace, or belongs to that of the span that was current where it was dispatched. The
identities of spans follow from what they are of, so that they are known before anything is sent,
and are the same after a crash: `qcov.classical.engine.tracing` sends the spans once a dispatch has
ended, and what an electron traces on its own is below the electron from the beginning.

Format: https://www.w3.org/TR/trace-context, version 00.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

from qcov.context import get_context

if TYPE_CHECKING:
    from opentelemetry.context import Context

_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class SpanId(NamedTuple):
    """Which span: its trace and itself, in hexadecimal digits."""

    trace: str
    span: str

    def __str__(self) -> str:
        """As a `traceparent`; what is traced here is always sampled."""
        return f"00-{self.trace}-{self.span}-01"


def parsed(traceparent: str | None) -> SpanId | None:
    """The span that a `traceparent` names; None if it names none.

    >>> parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").span
    'b7ad6b7169203331'
    >>> parsed("nonsense") is None
    True
    """
    found = _FORM.fullmatch(traceparent or "")
    return SpanId(found[1], found[2]) if found else None


def trace_of(traceparent: str | None, dispatch_id: str) -> str:
    """The trace that a dispatch belongs to: the one of its parent, or one of its own."""
    parent = parsed(traceparent)
    return parent.trace if parent else _digits(32, "trace", dispatch_id)


def span_of(*what: object) -> str:
    """The span of something: a dispatch, a node's attempt, a circuit.

    >>> span_of("some dispatch", 3, 1) == span_of("some dispatch", 3, 1)
    True
    """
    return _digits(16, "span", *what)


def current() -> str | None:
    """The `traceparent` of the span that is current here; None if nothing is traced.

    It is that of OpenTelemetry where the program uses it, or else that of the electron that runs.
    """
    context = get_context()
    told = None if context is None else context.traceparent
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # who has never imported it has no span
        return told
    found = trace.get_current_span().get_span_context()
    if not found.is_valid or not found.trace_flags.sampled:
        return told
    return str(SpanId(f"{found.trace_id:032x}", f"{found.span_id:016x}"))


@contextlib.contextmanager
def below(traceparent: str | None) -> Generator[None]:
    """Let what OpenTelemetry traces inside be below a span of another process.

    Nothing happens where OpenTelemetry is not installed, or there is no span.
    """
    span = parsed(traceparent)
    if span is None or importlib.util.find_spec("opentelemetry") is None:
        yield
        return
    from opentelemetry import context

    entered = context.attach(as_parent(span))
    try:
        yield
    finally:
        context.detach(entered)


def as_parent(span: SpanId) -> Context:
    """OpenTelemetry's context in which a span of another process is the current one."""
    from opentelemetry import trace

    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    elsewhere = trace.SpanContext(int(span.trace, 16), int(span.span, 16), True, sampled)
    return trace.set_span_in_context(trace.NonRecordingSpan(elsewhere))


def _digits(count: int, *what: object) -> str:
    return hashlib.sha256("|".join(map(str, what)).encode()).hexdigest()[:count]
