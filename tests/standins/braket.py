"""Amazon Braket as far as qcov uses it: its REST-JSON API over HTTP on loopback.

Circuits run on the local simulator of Braket's SDK, results go to S3 as moto plays it. It can be
told to be slow, busy, broken, offline or gone, to spoil results, and it counts what it would
charge. Nothing of qcov and of AWS's libraries is replaced: `BRAKET_ENDPOINT` leads here.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

from braket.default_simulator import DensityMatrixSimulator, StateVectorSimulator
from braket.ir.openqasm import Program

_SETS = "braket.ir.openqasm.program_set"
_QPU_GATES = ["x", "y", "z", "h", "s", "si", "t", "ti", "rx", "ry", "rz", "cnot", "swap", "i"]
_TASK_PRICE = 0.30


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that the stand-in has.

    Args:
        arn: Its name.
        sets: How many programs a program set has at most; None if it takes none.
        qubits: How many it has.
        shot_price: US dollars; None for a simulator.
        noisy: Whether it simulates density matrices.
    """

    arn: str
    sets: int | None = None
    set_shots: int = 200_000
    qubits: int = 20
    shot_price: float | None = None
    noisy: bool = False
    measures_all: bool = False

    @property
    def simulator(self) -> Any:
        """What runs its circuits."""
        return DensityMatrixSimulator() if self.noisy else StateVectorSimulator()

    def capabilities(self) -> dict[str, Any]:
        """What it says of itself."""
        said = json.loads(self.simulator.properties.json())
        program = said["action"]["braket.ir.openqasm.program"]
        sets = said["action"].pop(_SETS)
        if self.sets is not None:
            sets |= {"maximumExecutables": self.sets, "maximumTotalShots": self.set_shots}
            said["action"][_SETS] = sets
        said["paradigm"]["qubitCount"] = self.qubits
        if self.shot_price is None:
            said["service"]["deviceCost"] = {"price": 0.075, "unit": "minute"}
        else:
            program["supportedOperations"], program["supportedPragmas"] = _QPU_GATES, []
            program["requiresAllQubitsMeasurement"] = self.measures_all
            said["service"]["shotsRange"] = [1, 5000]
            said["service"]["deviceCost"] = {"price": self.shot_price, "unit": "shot"}
        return said


SV1 = Device(arn="arn:aws:braket:::device/quantum-simulator/amazon/sv1", qubits=34)
DM1 = Device(arn="arn:aws:braket:::device/quantum-simulator/amazon/dm1", qubits=17, noisy=True)
FORTE = Device(
    arn="arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1", shot_price=0.08, measures_all=True
)
GARNET = Device(
    arn="arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet", shot_price=0.00145, sets=100
)


@dataclass
class Task:
    """A task that was made."""

    arn: str
    request: dict[str, Any]
    key: str
    tokens: list[str]
    status: str = "QUEUED"
    reason: str = ""
    looks: int = 0
    successful: int = 0
    usd: float = 0.0


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


FAULTS: Mapping[str, tuple[int, str, str]] = {
    "busy": (429, "ThrottlingException", "Rate exceeded"),
    "broken": (500, "InternalServiceException", "try again"),
    "quota": (402, "ServiceQuotaExceededException", "too many tasks"),
    "spent": (400, "ValidationException", "The task exceeds the spending limit of the device"),
    "invalid": (400, "ValidationException", "the program is wrong"),
    "denied": (403, "AccessDeniedException", "the user is not authorized"),
    "expired": (403, "ExpiredTokenException", "the security token has expired"),
    "offline": (424, "DeviceOfflineException", "the device is offline"),
    "retired": (410, "DeviceRetiredException", "the device is retired"),
}


@dataclass
class Braket:
    """The stand-in.

    Args:
        s3: A client of the S3 that results go to.
        devices: Those that it has.
        looks: How often a task has to be looked at until it is done.
        held: Whether tasks stay in the queue.
        spoil: Makes something else of a result before it is written; None leaves it out.
    """

    s3: Any
    devices: Iterable[Device] = (SV1, DM1, FORTE, GARNET)
    looks: int = 1
    held: bool = False
    spoil: Callable[[Any], Any] | None = None
    online: bool = True
    listed: bool = True  #: whether tasks are listed yet
    slow_to_cancel: bool = False
    fails: str = ""  #: why tasks fail
    queue: str = "3"
    successful: int | None = None  #: of the shots of a task
    windows: list[dict[str, str]] | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    headers: list[str] = field(default_factory=list)  #: of all requests
    _faults: dict[str, list[str]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        outer = self

        class Handler(_Handler):
            braket = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()

    def fault(self, request: str, *faults: str) -> None:
        """Answer the next requests, such as "CreateQuantumTask", with these faults.

        Besides `FAULTS` there are "drop before", which closes the connection at once, and "drop
        after", which does so when all is done but the answer.
        """
        self._faults.setdefault(request, []).extend(faults)

    def recover(self) -> None:
        """Forget faults that nobody has asked for."""
        self._faults.clear()

    @property
    def shots(self) -> int:
        """Of all tasks together."""
        return sum(task.request["shots"] for task in self.tasks.values())

    @property
    def usd(self) -> float:
        """What it would charge."""
        return sum(task.usd for task in self.tasks.values())

    def device(self, arn: str) -> Device:
        found = next((device for device in self.devices if device.arn == arn), None)
        if found is None:
            raise Refused(404, "ResourceNotFoundException", f"no device {arn}")
        return found

    # -- requests --------------------------------------------------------------------------------

    def next_fault(self, operation: str) -> str | None:
        with self._lock:
            self.requests[operation] += 1
            waiting = self._faults.get(operation)
            return waiting.pop(0) if waiting else None

    def answer(self, operation: str, argument: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self._lock:
            match operation:
                case "GetDevice":
                    return 200, self._described(self.device(argument))
                case "CreateQuantumTask":
                    return 201, {"quantumTaskArn": self._created(body).arn}
                case "GetQuantumTask":
                    return 200, self._looked_at(self._known(argument))
                case "SearchQuantumTasks":
                    return 200, self._found(body)
                case _:
                    return 200, self._cancelled(self._known(argument))

    def _described(self, device: Device) -> dict[str, Any]:
        capabilities = device.capabilities()
        if self.windows is not None:
            capabilities["service"]["executionWindows"] = self.windows
        return {
            "deviceArn": device.arn,
            "deviceName": device.arn.rpartition("/")[2],
            "providerName": "Stand-in",
            "deviceType": "SIMULATOR" if device.shot_price is None else "QPU",
            "deviceStatus": "ONLINE" if self.online else "OFFLINE",
            "deviceCapabilities": json.dumps(capabilities),
            "deviceQueueInfo": [
                {
                    "queue": "QUANTUM_TASKS_QUEUE",
                    "queueSize": self.queue,
                    "queuePriority": "Normal",
                },
                {"queue": "QUANTUM_TASKS_QUEUE", "queueSize": "1", "queuePriority": "Priority"},
                {"queue": "JOBS_QUEUE", "queueSize": "50"},
            ],
        }

    def _created(self, body: dict[str, Any]) -> Task:
        token = body["clientToken"]
        for task in self.tasks.values():
            if token in task.tokens:
                return task
        self.device(body["deviceArn"])
        arn = f"arn:aws:braket:us-east-1:123456789012:quantum-task/{uuid.uuid4()}"
        key = f"{body['outputS3KeyPrefix']}/{arn.rpartition('/')[2]}"
        task = self.tasks[arn] = Task(arn=arn, request=body, key=key, tokens=[token])
        return task

    def _known(self, arn: str) -> Task:
        if arn not in self.tasks:
            raise Refused(404, "ResourceNotFoundException", f"no task {arn}")
        return self.tasks[arn]

    def _found(self, body: dict[str, Any]) -> dict[str, Any]:
        (wanted,) = body["filters"]
        start, count = int(body.get("nextToken") or 0), body.get("maxResults", 10)
        newest = [task for task in reversed(self.tasks.values()) if self.listed]
        mine = [task for task in newest if task.request["deviceArn"] in wanted["values"]]
        page = {"quantumTasks": [self._looked_at(task) for task in mine[start : start + count]]}
        return page | ({"nextToken": str(start + count)} if len(mine) > start + count else {})

    def _cancelled(self, task: Task) -> dict[str, Any]:
        if task.status not in ("QUEUED", "RUNNING"):
            raise Refused(409, "ConflictException", f"the task is {task.status}")
        task.status = "CANCELLING" if self.slow_to_cancel else "CANCELLED"
        return {"quantumTaskArn": task.arn, "cancellationStatus": task.status}

    def _looked_at(self, task: Task) -> dict[str, Any]:
        self._advance(task)
        request = task.request
        answer: dict[str, Any] = {
            "quantumTaskArn": task.arn,
            "status": task.status,
            "deviceArn": request["deviceArn"],
            "shots": request["shots"],
            "outputS3Bucket": request["outputS3Bucket"],
            "outputS3Directory": task.key,
            "createdAt": dt.datetime.now(dt.UTC).isoformat(),
            "tags": request.get("tags", {}),
        }
        if task.status == "QUEUED":
            answer["queueInfo"] = {"queue": "QUANTUM_TASKS_QUEUE", "position": "2"}
        if task.status == "FAILED":
            answer["failureReason"] = task.reason
        if task.status == "COMPLETED" and self.device(request["deviceArn"]).shot_price:
            answer["numSuccessfulShots"] = task.successful
        return answer

    # -- tasks -----------------------------------------------------------------------------------

    def _advance(self, task: Task) -> None:
        """Let a task go on; it does so whenever somebody looks at it."""
        if task.status == "CANCELLING":
            task.status = "CANCELLED"
        if task.status not in ("QUEUED", "RUNNING") or self.held:
            return
        task.looks += 1
        if task.looks < self.looks:
            task.status = "RUNNING"
        elif self.fails:
            task.status, task.reason = "FAILED", self.fails
        else:
            self._complete(task)

    def _complete(self, task: Task) -> None:
        device = self.device(task.request["deviceArn"])
        try:
            body = self._run(task, device)
        except Exception as error:  # noqa: BLE001  # as the service says it of any
            task.status, task.reason = "FAILED", f"{type(error).__name__}: {error}"
            return
        task.status = "COMPLETED"
        task.usd = 3 / 60 * 0.075
        if device.shot_price is not None:
            task.usd = _TASK_PRICE + task.successful * device.shot_price
        if self.spoil is not None:
            body = self.spoil(body)
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body)
            self.write(task, "results.json", text)

    def write(self, task: Task, name: str, text: str) -> None:
        """Put a file into a task's folder."""
        bucket = task.request["outputS3Bucket"]
        self.s3.put_object(Bucket=bucket, Key=f"{task.key}/{name}", Body=text.encode())

    def _run(self, task: Task, device: Device) -> dict[str, Any]:
        action, shots = json.loads(task.request["action"]), task.request["shots"]
        if action["braketSchemaHeader"]["name"] == _SETS:
            return self._run_set(task, device, action, shots)
        if device.measures_all:
            source = action["source"]
            assert f"qubit[{source.count('measure')}] q;" in source, "not all qubits are measured"
        task.successful = shots if self.successful is None else self.successful
        with warnings.catch_warnings():  # which tell noise-free circuits to go elsewhere
            warnings.simplefilter("ignore")
            ran = device.simulator.run(Program(source=action["source"]), shots=task.successful)
        body: dict[str, Any] = {
            "braketSchemaHeader": {"name": "braket.task_result.gate_model_task_result"},
            "measuredQubits": list(ran.measuredQubits),
            "resultTypes": [
                {"type": json.loads(one.type.json()), "value": _plain(one.value)}
                for one in ran.resultTypes or []
            ],
            "taskMetadata": {"id": task.arn, "shots": shots, "deviceId": device.arn},
            "additionalMetadata": {"action": action},
        }
        if shots:
            body["measurements"] = _bits(ran)
        if device.shot_price is None:
            body["additionalMetadata"]["simulatorMetadata"] = {"executionDuration": 12}
        return body

    def _run_set(
        self, task: Task, device: Device, action: dict[str, Any], shots: int
    ) -> dict[str, Any]:
        programs = action["programs"]
        assert device.sets is not None, "the device takes no program sets"
        assert len(programs) <= device.sets
        assert shots <= device.set_shots
        each, rest = divmod(shots, len(programs))
        assert not rest, "shots cannot be shared evenly"
        task.successful = shots
        return {
            "braketSchemaHeader": {"name": "braket.task_result.program_set_task_result"},
            "programResults": [self._one_of_set(device, program, each) for program in programs],
            "taskMetadata": {
                "id": task.arn,
                "requestedShots": shots,
                "successfulShots": shots,
                "totalFailedExecutables": 0,
            },
        }

    def _one_of_set(self, device: Device, program: dict[str, Any], shots: int) -> dict[str, Any]:
        ran = device.simulator.run(Program(source=program["source"]), shots=shots)
        result = {
            "inputsIndex": 0,
            "measurements": _bits(ran),
            "measuredQubits": list(ran.measuredQubits),
        }
        return {"executableResults": [result], "source": program, "additionalMetadata": {}}


def _bits(ran: Any) -> list[list[int]]:
    return [[int(bit) for bit in row] for row in ran.measurements]


def _plain(value: Any) -> Any:
    """Numbers as JSON has them, complex ones as pairs."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return [value.real, value.imag] if isinstance(value, complex) else value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    braket: Braket

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        for prefix, operation in (("/device/", "GetDevice"), ("/quantum-task/", "GetQuantumTask")):
            if path.startswith(prefix):
                self._answer(operation, path.removeprefix(prefix))

    def do_POST(self) -> None:
        created = urlparse(self.path).path == "/quantum-task"
        self._answer("CreateQuantumTask" if created else "SearchQuantumTasks", "")

    def do_PUT(self) -> None:
        path = unquote(urlparse(self.path).path)
        self._answer(
            "CancelQuantumTask", path.removeprefix("/quantum-task/").removesuffix("/cancel")
        )

    def _answer(self, operation: str, argument: str) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"{}")
        self.braket.headers.append(str(self.headers))
        fault = self.braket.next_fault(operation)
        if fault == "drop before":
            return self._drop()
        try:
            if fault in FAULTS:
                raise Refused(*FAULTS[fault])
            status, answer = self.braket.answer(operation, argument, body)
        except Refused as error:
            status, answer = error.status, {"message": str(error)}
            return self._send(status, answer, {"x-amzn-ErrorType": error.code})
        return self._drop() if fault == "drop after" else self._send(status, answer, {})

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _send(self, status: int, answer: Any, headers: Mapping[str, str]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
