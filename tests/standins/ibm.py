"""IBM Quantum as far as qcov needs it, spoken by an HTTPS server with fake backends.

The SDK is left as it is, and asks for its real addresses: `HTTPS_PROXY` sends all of them here,
where a CONNECT becomes TLS with a certificate for IBM's hosts, which `REQUESTS_CA_BUNDLE` makes
known. It can be told to be slow, busy, broken or offline, and counts what is asked and paid.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.fake_provider import FakeJakartaV2, FakeLimaV2, FakeManilaV2

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/abc:11111111-2222-3333-4444-555555555555::"
PAID_CRN = CRN.replace("1111", "9999", 1)
HOSTS = (
    "iam.cloud.ibm.com",
    "quantum.cloud.ibm.com",
    "globalcatalog.cloud.ibm.com",
    "api.global-search-tagging.cloud.ibm.com",
)
_SECONDS_OF_A_JOB = 2.0
_FOREVER = 4102444800  # 2100-01-01


@dataclass
class Job:
    """A job as the service knows it."""

    id: str
    request: Mapping[str, Any]
    status: str = "Queued"
    reason: str | None = None
    reason_code: int | None = None
    result: str | None = None
    seconds: float = 0.0
    looks: int = 0  #: how often somebody has asked for it; it runs at the second time

    @property
    def tags(self) -> list[str]:
        return list(self.request.get("tags") or [])


@dataclass
class Fault:
    """What goes wrong the next time that a request comes: see `IBM.break_next`."""

    how: str
    times: int


@dataclass
class IBM:
    """The service: what it has, what it was asked, and how it is to behave."""

    folder: Path
    token: str = "canary-api-key"  # what tests must find nowhere
    plans: Mapping[str, str] = field(default_factory=lambda: {CRN: "open"})
    jobs: dict[str, Job] = field(default_factory=dict)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    offline: set[str] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)  #: jobs of others, by backend
    hold: bool = False  #: jobs stay in the queue
    fail_jobs: tuple[int, str] | None = None  #: a code and a reason that jobs fail with
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    shuffle: bool = False  #: results come in another order
    damage: str | None = None  #: results are "cut", "doubled" or "mislabelled"

    def __post_init__(self) -> None:
        kinds = (FakeManilaV2, FakeLimaV2, FakeJakartaV2)
        self.backends = {kind.backend_name: kind() for kind in kinds}
        self.waiting = {"fake_manila": 4, "fake_lima": 0, "fake_jakarta": 9}
        self.lock = threading.Lock()
        self.woken = threading.Event()
        context = _tls(self.folder)
        self._server = _Server(("127.0.0.1", 0), _handler(self, context))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process ask this service."""
        proxy, nobody = f"http://127.0.0.1:{self.port}", "localhost"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": nobody,
            "no_proxy": nobody,
            "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem"),
            "USAGE_DATA_OPT_OUT": "True",
        }

    def close(self) -> None:
        self.woken.set()
        self._server.shutdown()
        self._server.server_close()

    def break_next(self, request: str, how: str, times: int = 1) -> None:
        """Let requests such as "POST /jobs" go wrong.

        Args:
            request: Method and path; ids in it are written as `*`.
            how: A status such as "429", with one of IBM's codes as "400/3458", or "drop before"
                and "drop after" the work is done, or "garble" the answer, or "hang" until the
                service is closed.
            times: How often.
        """
        self.faults.setdefault(request, []).append(Fault(how, times))

    def fault(self, request: str) -> str | None:
        with self.lock:
            waiting = self.faults.get(request, [])
            if not waiting:
                return None
            waiting[0].times -= 1
            return waiting.pop(0).how if waiting[0].times <= 0 else waiting[0].how

    @property
    def paid_seconds(self) -> float:
        return sum(job.seconds for job in self.jobs.values())

    def count(self, request: str) -> int:
        return Counter(self.requests)[request]

    @property
    def open_sessions(self) -> list[str]:
        return [one["mode"] for one in self.sessions.values() if one["accepting_jobs"]]

    def pubs_of_jobs(self) -> list[int]:
        """How many circuits each job has, in order."""
        return [_circuits(job.request["params"]["pubs"]) for job in self.jobs.values()]

    # -- what it does ------------------------------------------------------------------------

    def submit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        job = Job(id=f"job-{len(self.jobs)}-{uuid.uuid4().hex[:8]}", request=request)
        with self.lock:
            self.jobs[job.id] = job
        return {"id": job.id, "backend": request["backend"]}

    def advance(self, job: Job) -> None:
        """Run a job, unless jobs are held."""
        job.looks += 1
        if self.hold or job.status != "Queued" or job.looks < 2:
            return
        job.seconds = _SECONDS_OF_A_JOB
        if self.fail_jobs is not None:
            job.status, (job.reason_code, job.reason) = "Failed", self.fail_jobs
            job.result = job.reason
            return
        job.result = self._run(job.request)
        job.status = "Completed"

    def _run(self, request: Mapping[str, Any]) -> str:
        params = json.loads(json.dumps(request["params"]), cls=RuntimeDecoder)
        backend = self.backends[request["backend"]]
        kind = BackendSamplerV2 if request["program_id"] == "sampler" else BackendEstimatorV2
        result = kind(backend=backend).run([tuple(pub) for pub in params["pubs"]]).result()
        pubs = list(result)
        if self.shuffle:
            pubs.reverse()
        return json.dumps(type(result)(self._damaged(pubs)), cls=RuntimeEncoder)

    def _damaged(self, pubs: list[Any]) -> list[Any]:
        match self.damage:
            case "cut":
                return pubs[:-1]
            case "doubled":  # one comes twice, and one does not come
                return [*pubs[:-1], pubs[0]]
            case "mislabelled":  # each says that it is another one
                others = [other.metadata for other in reversed(pubs)]
                return [
                    type(one)(one.data, metadata=label)
                    for one, label in zip(pubs, others, strict=True)
                ]
        return pubs

    def describe(self, job: Job) -> dict[str, Any]:
        state: dict[str, Any] = {"status": job.status}
        if job.reason is not None:
            state |= {"reason": job.reason, "reason_code": job.reason_code}
        return {
            "id": job.id,
            "backend": job.request["backend"],
            "state": state,
            "status": job.status,
            "program": {"id": job.request["program_id"]},
            "created": _now(),
            "tags": job.tags,
            "session_id": job.request.get("session_id"),
            "estimated_running_time_seconds": _SECONDS_OF_A_JOB,
            "usage": {"seconds": job.seconds},
            "params": {},
            "user_id": "somebody",
        }


def _circuits(pubs: Any) -> int:
    decoded = json.loads(json.dumps(pubs), cls=RuntimeDecoder)
    return sum(len(pub[1]) if len(pub) > 1 and pub[1] is not None else 1 for pub in decoded)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()


# -- what it speaks ----------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of it."""


def _handler(service: IBM, context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        ibm, tls = service, context

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ibm: IBM
    tls: ssl.SSLContext

    def log_message(self, *_: Any) -> None: ...

    def do_CONNECT(self) -> None:
        """Become the host that is asked for."""
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
        self.close_connection = False

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = url.path.removeprefix("/api/v1")
        self.parts = path.strip("/").split("/")
        request = f"{self.command} {_without_ids(path)}"
        with self.ibm.lock:
            self.ibm.requests.append(request)
        how = self.ibm.fault(request)
        if how is not None and not self._goes_wrong(how):
            return
        answer = self._answer()
        if how == "drop after":
            self._hang_up()
        elif how == "garble":
            self._send(json.dumps(answer[0])[:-9], answer[1])
        else:
            self._send(*answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815

    def _goes_wrong(self, how: str) -> bool:
        """Do what a fault says; whether the request is worked on all the same."""
        if how[0].isdigit():
            status, _, code = how.partition("/")
            error = {"code": int(code or 1000), "message": f"broken with {how}"}
            self._send({"error": error, "errors": [error]}, int(status))
        elif how == "drop before":
            self._hang_up()
        elif how == "hang":
            self.ibm.woken.wait(60)
            self._hang_up()
        return how in ("drop after", "garble")

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, content: Any, status: int = 200) -> None:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> tuple[Any, int]:
        match self.command, self.parts:
            case "POST", ["identity", "token"]:
                return self._identity()
            case "POST", ["v3", "resources", "search"]:
                return {"items": self._instances(), "limit": 100}, 200
            case "GET", [plan] if plan.startswith("plan-"):
                pricing = "free" if plan == "plan-open" else "paid"
                name = plan.removeprefix("plan-")
                shown = {"overview_ui": {"en": {"display_name": name}}}
                return {**shown, "metadata": {"pricing": {"type": pricing}}}, 200
        if not self.headers.get("Authorization", "").startswith("Bearer "):
            return {"errors": [{"message": "who are you?"}]}, 401
        return self._runtime()

    def _identity(self) -> tuple[Any, int]:
        if f"apikey={self.ibm.token}" not in self.body.decode():
            return {"errorMessage": "Provided API key could not be found."}, 400
        times = {"iat": int(time.time()), "exp": _FOREVER}
        token = jwt.encode(times, "k" * 32)
        kept = {"refresh_token": "r", "token_type": "Bearer", "expires_in": 3600, "scope": "x"}
        return {"access_token": token, "expiration": _FOREVER, **kept}, 200

    def _instances(self) -> list[Any]:
        return [
            {
                "crn": crn,
                "name": f"the {plan} one",
                "service_plan_unique_id": f"plan-{plan}",
                "tags": [],
                "doc": {"extensions": [{"x": 1}]},
            }
            for crn, plan in self.ibm.plans.items()
        ]

    def _runtime(self) -> tuple[Any, int]:
        match self.command, self.parts:
            case "GET", ["backends"]:
                return {"devices": list(map(self._device, self.ibm.backends.values()))}, 200
            case "GET", ["backends", name, what] if name in self.ibm.backends:
                return self._backend(name, what), 200
            case "GET", ["instances", "usage"]:
                return _usage(self.ibm.paid_seconds), 200
            case "POST", ["jobs"]:
                return self.ibm.submit(json.loads(self.body)), 200
            case "GET", ["jobs"]:
                return self._listed(), 200
            case _, ["jobs", job, *rest] if job in self.ibm.jobs:
                return self._job(self.ibm.jobs[job], rest)
            case _, ["sessions", *rest]:
                return self._session(rest)
        return {"errors": [{"message": f"nothing is at {self.path}", "code": 1291}]}, 404

    def _device(self, backend: Any) -> dict[str, Any]:
        online = backend.name not in self.ibm.offline
        return {
            "name": backend.name,
            "status": {"name": "online" if online else "offline", "reason": "available"},
            "queue_length": self.ibm.waiting[backend.name],
            "qubits": backend.num_qubits,
            "is_simulator": False,
        }

    def _backend(self, name: str, what: str) -> Any:
        backend = self.ibm.backends[name]
        if what == "status":
            active = name not in self.ibm.offline
            return {
                "backend_version": "1.0",
                "state": active,
                "status": "active" if active else "internal",
                "length_queue": self.ibm.waiting[name],
                "message": "available",
            }
        kept = backend.conf_filename if what == "configuration" else backend.props_filename
        found = json.loads(Path(backend.dirname, kept).read_text())
        return {**found, "backend_name": name}

    def _listed(self) -> Any:
        wanted = set(self.query.get("tags", []))
        found = [job for job in self.ibm.jobs.values() if wanted <= set(job.tags)]
        return {"jobs": list(map(self.ibm.describe, found)), "count": len(found)}

    def _job(self, job: Job, rest: list[str]) -> tuple[Any, int]:
        match rest:
            case []:
                self.ibm.advance(job)
                return self.ibm.describe(job), 200
            case ["results"]:
                return job.result or "", 200
            case ["metrics"]:
                usage = {"quantum_seconds": job.seconds, "seconds": job.seconds}
                return {"timestamps": {"created": _now()}, "usage": usage}, 200
            case ["cancel"] if job.status == "Queued":
                job.status = "Cancelled"
                return {}, 204
            case ["cancel"]:
                return {"errors": [{"message": "the job has ended"}]}, 409
        return {}, 200

    def _session(self, rest: list[str]) -> tuple[Any, int]:
        sessions = self.ibm.sessions
        if not rest:
            asked = json.loads(self.body)
            made = {"id": str(uuid.uuid4()), "state": "open", "accepting_jobs": True, **asked}
            sessions[made["id"]] = made
            return made, 200
        if self.command == "PATCH":
            sessions[rest[0]] |= json.loads(self.body)
        elif self.command == "DELETE":
            sessions[rest[0]]["accepting_jobs"] = False
        return sessions[rest[0]], 200


def _usage(seconds: float) -> dict[str, Any]:
    return {
        "usage_consumed_seconds": seconds,
        "usage_remaining_seconds": 600 - seconds,
        "usage_limit_seconds": 600,
        "usage_limit_reached": False,
    }


def _without_ids(path: str) -> str:
    parts = path.strip("/").split("/")
    if parts[0] in ("jobs", "sessions", "backends") and len(parts) > 1:
        parts[1] = "*"
    return "/" + "/".join(parts)


# -- certificates ------------------------------------------------------------------------------


def _tls(folder: Path) -> ssl.SSLContext:
    """A context with a certificate for IBM's hosts; who signed it is in `ca.pem`."""
    authority, signer = _certificate("test authority", None, None)
    certificate, key = _certificate(HOSTS[0], authority, signer)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def _certificate(name: str, issuer: Any, signer: Any) -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    hosts = [x509.DNSName(host) for host in HOSTS]
    local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    today = dt.datetime.now(dt.UTC)
    public = (signer or key).public_key()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(_key_usage(signs=issuer is None), critical=True)  # Python 3.13 wants it
        .add_extension(x509.SubjectAlternativeName([*hosts, local]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(signer or key, hashes.SHA256())
    )
    return made, key


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[IBM]:
    """The service while the block runs."""
    service = IBM(folder, **settings)
    try:
        yield service
    finally:
        service.close()


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
