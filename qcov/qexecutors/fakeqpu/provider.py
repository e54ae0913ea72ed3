"""A fake provider as executors reach it."""

from __future__ import annotations

import hashlib
import json
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpx
import numpy as np

from qcov.budget import Unit
from qcov.errors import CircuitRejected, ExecutorOffline, TransientFailure
from qcov.policy import ErrorKind
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.fakeqpu.machine import GATES, bits_of
from qcov.qexecutors.pennylane_sampling import Sampled, Samplings, sampled
from qcov.qexecutors.provider import (
    Amounts,
    JobOutput,
    JobState,
    JobView,
    Limits,
    Program,
    Translation,
)

_TIME_LIMIT = 30.0  # seconds for a request
_MAX_BODY = 2**25


class FakeProvider:
    """A fake provider at a URL; see `qcov.qexecutors.fakeqpu.server` for what it speaks.

    Args:
        url: Where it is.
        secret: Gives the token that it wants.
        executor: Who asks.
    """

    name = "FakeQPU"

    def __init__(self, url: str, secret: Callable[[], str | None], executor: str) -> None:
        self.account = url
        self._executor, self._secret = executor, secret
        self._http = httpx.Client(base_url=url, timeout=_TIME_LIMIT, trust_env=False)
        weakref.finalize(self, self._http.close).atexit = False
        self._about: Mapping[str, Any] | None = None

    @property
    def device(self) -> str:
        """Its only one."""
        return "fakeqpu"

    @property
    def prices(self) -> str | None:
        """Its own."""
        return f"those of {self.account}"

    @property
    def limits(self) -> Limits:
        """What it says."""
        about = self._device()
        return Limits(
            programs=about["max_programs"],
            size=_MAX_BODY,
            shots=about["max_shots"],
            pending=about["max_pending"],
            per_second=about["max_per_second"],
        )

    @property
    def idempotent(self) -> bool:
        """What it says."""
        return self._device()["idempotent"]

    def translate(self, batch: CircuitBatch) -> Translation:
        """Programs of its gates; a circuit that it cannot run has its refusal as its value."""
        wholes = [self._whole(circuit, batch) for circuit in batch.circuits]
        circuits = [_circuits_of(whole) for whole in wholes]
        programs = [_program(one) for own in circuits for one in own]

        def read(raw: Sequence[Any]) -> list[Any]:
            rest = iter(raw)
            return [
                _value(whole, [next(rest) for _ in own])
                for whole, own in zip(wholes, circuits, strict=True)
            ]

        owners = [index for index, own in enumerate(circuits) for _ in own]
        return Translation(programs=programs, read=read, owners=owners)

    def _whole(self, circuit: Any, batch: CircuitBatch) -> Samplings | CircuitRejected:
        try:
            return sampled(circuit, batch, GATES, self._executor)
        except CircuitRejected as error:
            return error

    def submit(self, programs: Sequence[Program], token: str) -> str:
        """The id of the new job, or of the one that has this token."""
        payload = [{**program.payload, "key": program.key} for program in programs]
        return self._ask("POST", "/jobs", json={"token": token, "programs": payload})["id"]

    def look(self, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        """How jobs stand, in one request."""
        found = self._ask("GET", "/jobs", params={"id": list(job_ids)})["jobs"]
        return {
            one["id"]: JobView(
                state=JobState(one["state"]), error=one["error"], kind=ErrorKind.TRANSIENT
            )
            for one in found
        }

    def fetch(self, job_id: str, programs: Sequence[Program]) -> JobOutput:
        """The results, put into the order of the programs by their keys."""
        answer = self._ask("GET", f"/jobs/{job_id}/results")
        found = {one["number"]: one for one in answer["results"]}  # one may come twice
        try:
            results = [_bits(found[at], program) for at, program in enumerate(programs)]
        except (KeyError, ValueError, IndexError) as error:
            reason = f"the results of job {job_id} are not those of its circuits"
            raise TransientFailure(reason, executor=self._executor) from error
        return JobOutput(
            results=results, amounts=self._amounts(programs, answer), seconds=answer["seconds"]
        )

    def cancel(self, job_id: str) -> JobState:
        """Cancel a job that has not ended."""
        return JobState(self._ask("POST", f"/jobs/{job_id}/cancel")["state"])

    def find(self, token: str) -> str | None:
        """The id of the job with a token."""
        found = self._ask("GET", "/jobs", params={"token": token})["jobs"]
        return found[0]["id"] if found else None

    def used(self, job_id: str) -> Amounts | None:
        """What it has charged."""
        found = self._ask("GET", "/jobs", params={"id": [job_id]})["jobs"]
        if not found:
            return None
        return {Unit.USD: found[0]["usd"]} if found[0]["usd"] else {}

    def online(self) -> bool:
        """What it says now."""
        return self._ask("GET", "/device")["online"]

    def queue_depth(self) -> int | None:
        """What it says now."""
        return self._ask("GET", "/device")["queue_length"]

    def estimate(self, programs: Sequence[Program]) -> Amounts | None:
        """By its prices."""
        about = self._device()
        shots = sum(program.shots or 0 for program in programs)
        return {Unit.USD: about["usd_per_task"] + about["usd_per_shot"] * shots}

    def running(self, jobs: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be open."""
        return nullcontext()

    def sent(self, error: BaseException) -> bool | None:
        """A refusal is an answer; of what broke nobody knows whether it was heard."""
        if isinstance(error, httpx.HTTPStatusError):
            return False if error.response.status_code != _BROKEN else None
        return None if isinstance(error, httpx.TransportError) else False  # it was never sent

    def _device(self) -> Mapping[str, Any]:
        about = self._about
        if about is None:
            about = self._about = self._ask("GET", "/device")
        return about

    def _amounts(self, programs: Sequence[Program], answer: Mapping[str, Any]) -> Amounts:
        shots = sum(program.shots or 0 for program in programs)
        return {Unit.USD: answer["usd"], Unit.TASKS: 1.0, Unit.SHOTS: float(shots)}

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        secret = self._secret()
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        try:
            answer = self._http.request(method, path, headers=headers, **content)
        except httpx.ConnectError as error:
            reason = f"nobody answers at {self.account}"
            raise ExecutorOffline(reason, executor=self._executor) from error
        if answer.status_code == _REFUSED:
            raise CircuitRejected(answer.json()["error"], executor=self._executor)
        answer.raise_for_status()
        return answer.json()


_BROKEN, _REFUSED = 500, 422


def _circuits_of(whole: Samplings | CircuitRejected) -> Sequence[Sampled]:
    return () if isinstance(whole, CircuitRejected) else whole.circuits


def _program(circuit: Sampled) -> Program:
    gates = [(gate.name, gate.qubits, gate.parameters) for gate in circuit.gates]
    payload = {"qubits": circuit.qubits, "gates": gates, "shots": circuit.shots}
    text = json.dumps(payload)
    key = hashlib.sha256(text.encode()).hexdigest()
    return Program(payload=payload, key=key, shots=circuit.shots, size=sys.getsizeof(text))


def _bits(result: Mapping[str, Any], program: Program) -> np.ndarray | None:
    if program.payload is None:  # nobody wants it
        return None
    if result["key"] != program.key:
        raise ValueError(result["key"])
    return bits_of(result["bits"], program.payload["qubits"], program.payload["shots"])


def _value(whole: Samplings | CircuitRejected, raw: Sequence[Any]) -> Any:
    if isinstance(whole, CircuitRejected):
        return whole
    errors = [one for one in raw if isinstance(one, BaseException)]
    if errors:
        return errors[0]
    try:
        pairs = zip(whole.circuits, raw, strict=True)
        return whole.finish([circuit.read(bits) for circuit, bits in pairs])
    except Exception as error:  # noqa: BLE001  # PennyLane's own: it is this circuit's result
        return error
