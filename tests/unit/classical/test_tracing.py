"""Spans of dispatches."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import qcov as ct
from qcov import tracing
from qcov.classical.engine.process import configured_store
from qcov.classical.engine.tracing import Tracer
from qcov.classical.status import Status
from qcov.context import Context, running
from tests.waiting import until

pytestmark = pytest.mark.process


@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(angle: float) -> Any:
    qml.RX(angle, wires=0)
    return qml.expval(qml.Z(0))


@ct.electron
def measured(angle: float) -> float:
    return float(circuit(angle))


@ct.electron
def told(_after: float) -> str:
    """What the electron's own traces would be below."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x} {span.span_id:016x} {ct.get_context().traceparent}"


@ct.electron
@ct.lattice
def inner(angle: float) -> str:
    return told(measured(angle))


@ct.electron(retries=1)
def fails_once(folder: str) -> str:
    mark = Path(folder, "mark")
    if mark.exists():
        return "the second time"
    mark.touch()
    raise ValueError("the first time")


@ct.lattice
def flow(angle: float) -> str:
    return inner(angle)


@ct.lattice
def again(folder: str) -> str:
    return fails_once(folder)


class Collector(ThreadingHTTPServer):
    """What spans are sent to: OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Request)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Request(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Collector)
        sent = ExportTraceServiceRequest.FromString(body)
        self.server.spans += [
            span for of in sent.resource_spans for scope in of.scope_spans for span in scope.spans
        ]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, and engines that send to it."""
    with Collector() as collector:
        address = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
        monkeypatch.setenv("QCOV_TRACING_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield collector
        collector.shutdown()


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """A user's own; a process has one."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    return made


def test_a_collector_gets_the_whole_tree(collector: Collector, provider: TracerProvider) -> None:
    with provider.get_tracer("mine").start_as_current_span("my program") as mine:
        result = ct.dispatch_sync(flow)(0.5)
    until(lambda: len(collector.spans) == 7, 20)

    by_name = {span.name.partition(" 0x")[0]: span for span in collector.spans}
    names = ["dispatch flow", "sublattice inner", "dispatch inner", "electron measured"]
    chain = [by_name[name] for name in [*names, "circuit circuit", "attempt on Simulator"]]
    above = f"{mine.get_span_context().span_id:016x}"
    for span in chain:
        assert span.parent_span_id.hex() == above, span.name
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.trace_id.hex() == f"{mine.get_span_context().trace_id:032x}"
        above = span.span_id.hex()
    seen = by_name["electron told"]
    expected = f"{seen.trace_id.hex()} {seen.span_id.hex()}"
    assert result.result == f"{expected} 00-{expected.replace(' ', '-')}-01"


def test_each_attempt_is_a_span(data_folder: Path, tmp_path: Path) -> None:
    result = ct.dispatch_sync(again)(str(tmp_path))
    exporter = InMemorySpanExporter()
    store = configured_store(data_folder)
    tracer = Tracer(store, exporter)
    tracer.note(result.dispatch_id, 0, Status.COMPLETED)
    tracer.note(result.dispatch_id, None, Status.RUNNING)
    tracer.note(result.dispatch_id, None, Status.COMPLETED)
    tracer.note("not there", None, Status.FAILED)
    tracer.close()
    store.close()

    dispatch, first, second = sorted(exporter.get_finished_spans(), key=_place)
    assert dispatch.parent is None
    assert _attributes(dispatch) == {
        "qcov.dispatch": result.dispatch_id, "qcov.status": "COMPLETED",
        "qcov.nodes": dispatch.attributes["qcov.nodes"],
    }  # fmt: skip
    assert [span.attributes["qcov.attempt"] for span in (first, second)] == [1, 2]
    assert (first.status.is_ok, first.status.description) == (False, "ValueError: the first time")
    assert second.status.status_code is trace.StatusCode.UNSET
    assert first.end_time <= second.start_time
    for span in (first, second):
        assert span.parent is not None
        assert span.parent.span_id == dispatch.context.span_id
    assert f"{first.context.span_id:016x}" == tracing.span_of(result.dispatch_id, 0, 1)


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _place(span: ReadableSpan) -> int:
    return int(_attributes(span).get("qcov.attempt", 0))


def test_without_a_span_nothing_is_traced() -> None:
    assert tracing.current() is None
    assert ct.dispatch_sync(flow)(0.1).result == f"{'0' * 32} {'0' * 16} None"


def test_an_electron_hands_its_span_on() -> None:
    mine = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with running(Context(dispatch_id="d", node_id=1, electron="e", traceparent=mine)):
        assert tracing.current() == mine
        with tracing.below("00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
            assert tracing.current() == f"00-{'a' * 32}-{'b' * 16}-01"
        with tracing.below("nonsense"):
            assert tracing.current() == mine


def test_without_the_extra_all_goes_on_and_the_log_says_why(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(hidden.parent))
    monkeypatch.setenv("QCOV_TRACING_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    program = tmp_path / "program.py"
    program.write_text(
        "import qcov as ct\n"
        "@ct.electron\n"
        "def f(x): return x + 1\n"
        "@ct.lattice\n"
        "def flow(x): return f(x)\n"
        "print(ct.dispatch_sync(flow)(1).result)\n"
    )
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)

    assert ran.stdout == "2\n"
    logs = "".join(path.read_text() for path in data_folder.rglob("*.log"))
    assert "OpenTelemetry is not installed here" in logs
