"""Spans of dispatches, electrons, circuits and attempts, sent to a collector by OpenTelemetry.

They are made of what the store has, once a dispatch has ended: what runs does not wait for them.
The package `opentelemetry-sdk` is needed for it (`pip install 'qcov[otel]'`).
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcov.classical.status import Status
from qcov.errors import QcovError
from qcov.headline import headline
from qcov.store.asking import Row
from qcov.store.store import Store
from qcov.tracing import SpanId, as_parent, parsed, span_of, trace_of
from qcov.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_log = logging.getLogger("qcov.tracing")

_CIRCUITS_AT_ONCE = 1000
_SENT_AT_ONCE = 500  #: spans; the SDK drops those that do not fit into its queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span, before OpenTelemetry has it."""

    id: SpanId
    parent: str | None  #: the span that it is below, in the same trace
    name: str
    started: float  #: seconds since the epoch
    ended: float
    attributes: Mapping[str, str | int | float | bool]
    error: str | None = None


def spans(store: Store, dispatch_id: str) -> Iterator[Span]:
    """All spans of a dispatch that has ended, those of its sublattices left out."""
    row = store.get_dispatch(dispatch_id)
    traceparent = store.manifest(dispatch_id).get("traceparent")
    parent = parsed(traceparent)
    trace, own = trace_of(traceparent, dispatch_id), span_of(dispatch_id)
    ended = row["ended"] or row["created"]
    yield Span(
        id=SpanId(trace, own), parent=parent and parent.span, name=f"dispatch {row['name']}",
        started=row["created"], ended=ended, error=row["error"],
        attributes=_told(dispatch=dispatch_id, status=row["status"], nodes=row["nodes_total"]),
    )  # fmt: skip
    for node in store.get_nodes(dispatch_id):
        if node["kind"] in ("electron", "sublattice") and node["started"] is not None:
            yield from _electron(store, trace, own, node, ended)
    yield from _circuits(store, trace, dispatch_id)


def _electron(store: Store, trace: str, dispatch: str, node: Row, latest: float) -> Iterator[Span]:
    """One for each attempt."""
    place = (node["dispatch_id"], node["node_id"])
    earlier = store.get_attempts(*place) if node["attempt"] > 1 else []
    for row in (*earlier, node):
        if row["started"] is not None:
            yield Span(
                id=SpanId(trace, span_of(*place, row["attempt"])), parent=dispatch,
                name=f"{node['kind']} {node['name']}", started=row["started"],
                ended=row["ended"] or latest, error=row["error"],
                attributes=_told(
                    dispatch=place[0], node=place[1], attempt=row["attempt"],
                    executor=node["executor"], status="FAILED" if row["error"] else node["status"],
                ),
            )  # fmt: skip


def _circuits(store: Store, trace: str, dispatch_id: str) -> Iterator[Span]:
    attempts = {node["node_id"]: node["attempt"] for node in store.get_nodes(dispatch_id)}
    offset = 0
    while rows := store.get_circuits(dispatch_id, limit=_CIRCUITS_AT_ONCE, offset=offset):
        for row in rows:
            electron = span_of(dispatch_id, row["node_id"], attempts.get(row["node_id"]))
            yield from _circuit(trace, electron, row)
        offset += len(rows)


def _circuit(trace: str, electron: str, row: Row) -> Iterator[Span]:
    ended = row["finished"] or row["queued"]
    own = span_of(row["id"])
    yield Span(
        id=SpanId(trace, own), parent=electron, name=f"circuit {row['qelectron']}",
        started=row["queued"], ended=ended, error=row["error"],
        attributes=_told(
            circuit=row["id"], executor=row["executor"], device=row["device"],
            backend=row["backend"], shots=row["shots"], wires=row["wires"], job=row["job_id"],
        ),
    )  # fmt: skip
    for attempt in row["attempts"]:
        if attempt.get("started") is not None:
            yield Span(
                id=SpanId(trace, span_of(row["id"], attempt["number"], attempt["executor"])),
                parent=own, name=f"attempt on {attempt['executor']}",
                started=attempt["started"], ended=attempt.get("finished") or ended,
                error=attempt.get("error"),
                attributes=_told(
                    attempt=attempt["number"], executor=attempt["executor"],
                    job=attempt.get("job_id"), error_kind=attempt.get("kind"),
                ),
            )  # fmt: skip


def _told(**attributes: Any) -> dict[str, Any]:
    return {f"qcov.{name}": value for name, value in attributes.items() if value is not None}


# -- sending -----------------------------------------------------------------------------------


class Tracer:
    """Sends the spans of dispatches that have ended, from a thread of its own.

    Args:
        store: Where they are.
        exporter: Where spans go.
    """

    def __init__(self, store: Store, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._store = store
        self._ids = _known_ids()
        about = Resource.create({"service.name": "qcov", "service.version": __version__})
        self._provider = TracerProvider(resource=about, id_generator=self._ids)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("qcov", __version__)
        self._ended: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="qcov-tracing", daemon=True)
        self._thread.start()

    def note(self, dispatch_id: str, node: int | None, status: Status) -> None:
        """Something has changed; the end of a dispatch is what counts."""
        if node is None and status.terminal:
            self._ended.put(dispatch_id)

    def close(self) -> None:
        """Send what there is, for some seconds at most."""
        self._ended.put(None)
        self._thread.join(10.0)
        self._provider.shutdown()

    def _work(self) -> None:
        while (dispatch_id := self._ended.get()) is not None:
            try:
                self._send(dispatch_id)
            except QcovError as error:  # it is damaged, or was removed meanwhile
                _log.warning("dispatch %s was not traced: %s", dispatch_id, error)
            except Exception:  # noqa: BLE001  # a defect of ours: the next one is traced
                _log.exception("dispatch %s was not traced", dispatch_id)

    def _send(self, dispatch_id: str) -> None:
        for number, span in enumerate(spans(self._store, dispatch_id), 1):
            self._tell(span)
            if number % _SENT_AT_ONCE == 0:
                self._provider.force_flush()
        self._provider.force_flush()

    def _tell(self, span: Span) -> None:
        from opentelemetry import trace

        self._ids.next = span.id
        above = None if span.parent is None else as_parent(SpanId(span.id.trace, span.parent))
        told = self._tracer.start_span(
            span.name, context=above, start_time=_nanoseconds(span.started),
            attributes=span.attributes,
        )  # fmt: skip
        if span.error:
            last = headline(span.error)
            told.set_status(trace.Status(trace.StatusCode.ERROR, last))
        told.end(_nanoseconds(max(span.started, span.ended)))


def configured_tracer(store: Store, endpoint: str) -> Tracer | None:
    """What sends spans to `endpoint`, a URL of OTLP over HTTP; None if there is none.

    Where OpenTelemetry is not installed, that is said in the log, and nothing is sent.
    """
    if not endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        _log.warning(
            "tracing.endpoint is set, but OpenTelemetry is not installed here: nothing is "
            "traced. `pip install 'qcov[otel]'`, then restart the engine."
        )
        return None
    return Tracer(store, OTLPSpanExporter(endpoint=endpoint))


def _known_ids() -> Any:
    """Gives OpenTelemetry the identities that spans have here."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class KnownIds(IdGenerator):
        next = SpanId("1" * 32, "1" * 16)

        def generate_trace_id(self) -> int:
            return int(self.next.trace, 16)

        def generate_span_id(self) -> int:
            return int(self.next.span, 16)

    return KnownIds()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
