"""A fake provider over HTTP, on loopback.

    POST /jobs {"token", "programs"}   a job; the one that stands, if the token is known
    GET  /jobs?id=...&id=...           how jobs stand
    GET  /jobs?token=...               the job with a token
    GET  /jobs/ID/results              what came of a job that has completed
    POST /jobs/ID/cancel
    GET  /device                       name, qubits, queue, prices, calibration, limits
    GET  /ledger                       what was charged
    POST /conditions {...}             change what it is like

All bodies are JSON. What it is told to do wrong, it does to every request but the last two.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from qcov.errors import InvalidSetting
from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.jobs import FakeJob, FakeJobs, Offline, TooMany
from qcov.qexecutors.fakeqpu.machine import RefusedProgram, calibration

_MAX_BODY = 2**26
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class _Answer(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeServer:
    """A fake provider that listens on loopback from when it is made until it is closed.

    Args:
        conditions: What it is like.
        port: Where it listens; 0 for a free port.
        token: What requests must carry as a bearer; none, if it is empty.

    Example:
        >>> server = FakeServer(Conditions(queue_time=1.0))
        >>> server.url.startswith("http://127.0.0.1:")
        True
        >>> server.close()
    """

    def __init__(self, conditions: Conditions, *, port: int = 0, token: str = "") -> None:
        self.jobs = FakeJobs(conditions)
        self.dead = False  #: hangs up on everybody
        self._token = token
        self._heard: list[float] = []  #: when it was asked in the last second
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), self)
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """Stop to listen; in a fork of the process that listens, only let go of its socket."""
        if os.getpid() == self._process:
            self._http.shutdown()
        self._http.server_close()

    # -- what a request goes through -------------------------------------------------------------

    def disturb(self, when: str) -> str | None:
        """What goes wrong with a request "before" or "after" it was heard: "drop", or an error."""
        conditions = self.jobs.conditions
        with self._lock:
            chance = self.jobs.chance.random
            if when == "after":
                return "drop" if chance() < conditions.drop_after else None
            if self.dead or chance() < conditions.drop:
                return "drop"
            if chance() < conditions.busy or self._too_often():
                raise _Answer(429, "too many requests")
            if chance() < conditions.broken:
                raise _Answer(500, "something broke")
        return None

    def _too_often(self) -> bool:
        """Whether requests come faster than they may."""
        most, now = self.jobs.conditions.max_per_second, time.monotonic()
        self._heard = [when for when in self._heard if now - when < 1.0]
        if most is not None and len(self._heard) >= max(1.0, most):
            return True
        self._heard.append(now)
        return False

    def allow(self, headers: Mapping[str, str]) -> None:
        """Refuse who must not ask."""
        if headers.get("Host", "").rpartition(":")[0] not in _HOSTS or headers.get("Origin"):
            raise _Answer(403, "only programs on this machine may ask")
        given = headers.get("Authorization", "")
        if self._token and not hmac.compare_digest(
            given.encode(), f"Bearer {self._token}".encode()
        ):
            raise _Answer(401, "the token is missing or wrong")

    def answer(self, method: str, target: str, body: Any) -> Any:
        """The answer to a request, as a JSON value."""
        url = urlsplit(target)
        match method, url.path.strip("/").split("/"):
            case "POST", ["jobs"]:
                return self._submit(body)
            case "GET", ["jobs"]:
                return self._look(parse_qs(url.query))
            case "GET", ["jobs", job_id, "results"]:
                return self._results(self._job(job_id))
            case "POST", ["jobs", job_id, "cancel"]:
                return self._cancel(self._job(job_id))
            case _:
                return self._about(method, url.path, body)

    def _about(self, method: str, path: str, body: Any) -> Any:
        match method, path:
            case "GET", "/device":
                return self._device()
            case "GET", "/ledger":
                return self.jobs.ledger()
            case "POST", "/conditions":
                return self._change(body)
            case _:
                raise _Answer(404, f"there is no {method} {path}")

    def _cancel(self, job: FakeJob) -> Any:
        self.jobs.cancel(job)
        return self.jobs.view(job)

    def _submit(self, body: Any) -> dict[str, Any]:
        try:
            token, programs = str(body["token"]), list(body["programs"])
        except (TypeError, KeyError) as error:
            raise _Answer(400, "a job needs a token and programs") from error
        try:
            job = self.jobs.submit(token, programs)
        except TooMany:
            raise _Answer(429, "too many jobs wait") from None
        except Offline:
            raise _Answer(503, "the device is offline") from None
        except RefusedProgram as error:
            raise _Answer(422, str(error)) from None
        return self.jobs.view(job)

    def _look(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        if "token" in query:
            job = self.jobs.find(query["token"][0])
            return {"jobs": [] if job is None else [self.jobs.view(job)]}
        found = (self.jobs.get(job_id) for job_id in query.get("id", ()))
        return {"jobs": [self.jobs.view(job) for job in found if job is not None]}

    def _results(self, job: FakeJob) -> dict[str, Any]:
        if self.jobs.state(job) != "COMPLETED":
            raise _Answer(409, f"the job is {self.jobs.state(job)}")
        results = self.jobs.results(job)
        conditions, draw = self.jobs.conditions, self.jobs.chance
        with self._lock:
            if draw.random() < conditions.swap:
                draw.shuffle(results)
            if draw.random() < conditions.duplicate:
                results.insert(0, results[-1])
            if draw.random() < conditions.truncate:
                results = results[: len(results) // 2]
        return {
            "results": results,
            "seconds": job.ends - job.starts,
            "usd": self.jobs.charged([job]),
        }

    def _job(self, job_id: str) -> FakeJob:
        job = self.jobs.get(job_id)
        if job is None:
            raise _Answer(404, f"there is no job {job_id}")
        return job

    def _device(self) -> dict[str, Any]:
        conditions = self.jobs.conditions
        return {
            "name": "fakeqpu",
            "qubits": conditions.qubits,
            "online": not conditions.offline,
            "queue_length": conditions.queue_length,
            "usd_per_task": conditions.usd_per_task,
            "usd_per_shot": conditions.usd_per_shot,
            "max_programs": conditions.max_programs,
            "max_pending": conditions.max_pending,
            "max_shots": conditions.max_shots,
            "max_per_second": conditions.max_per_second,
            "idempotent": conditions.idempotent,
            "calibration": calibration(conditions, time.time()),
        }

    def _change(self, body: Any) -> dict[str, Any]:
        jobs = self.jobs
        try:
            changed = Conditions.made_of({**jobs.conditions.model_dump(), **body})
        except (InvalidSetting, TypeError) as error:
            raise _Answer(422, str(error)) from None
        jobs.set_offline(changed.offline)
        jobs.conditions = changed
        return changed.model_dump()


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], fake: FakeServer) -> None:
        self.fake = fake
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up is nobody's fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._respond("GET")

    def do_POST(self) -> None:
        """Answer."""
        self._respond("POST")

    def _respond(self, method: str) -> None:
        fake = self.server.fake
        undisturbed = self.path.split("?")[0] in ("/ledger", "/conditions")
        try:
            time.sleep(fake.jobs.conditions.latency)
            body = self._body()
            fake.allow(self.headers)  # pyright: ignore[reportArgumentType]
            if not undisturbed and fake.disturb("before"):
                self._hang_up()
                return
            status, answer = 200, fake.answer(method, self.path, body)
            if not undisturbed and fake.disturb("after"):
                self._hang_up()
                return
        except _Answer as error:
            status, answer = error.status, {"error": str(error)}
        self._send(status, answer)

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MAX_BODY:
            self.close_connection = True
            raise _Answer(413, "the request is too large")
        text = self.rfile.read(length)
        if not text:
            return None
        if self.headers.get_content_type() != "application/json":
            raise _Answer(415, "send application/json")
        try:
            return json.loads(text)
        except ValueError as error:
            raise _Answer(400, "that is no JSON") from error

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
