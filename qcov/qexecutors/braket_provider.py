"""Amazon Braket as a provider: a job is a quantum task, of one program or of a program set."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from qcov.budget import Unit
from qcov.errors import CircuitError, TransientFailure
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.braket_aws import AwsConnection, is_unknown, was_sent
from qcov.qexecutors.braket_facts import DeviceFacts, below
from qcov.qexecutors.braket_programs import BraketProgram, translate
from qcov.qexecutors.braket_results import set_results, task_result
from qcov.qexecutors.pace import Pace
from qcov.qexecutors.prices import Price, price_of
from qcov.qexecutors.provider import (
    Amounts,
    JobOutput,
    JobState,
    JobView,
    Limits,
    Program,
    Translation,
)

NAME = "Amazon Braket"
_TAG = "qcov-token"
_MOST_BYTES = 3_000_000  # of a request, so that none is refused for its size
_CREATED_PER_SECOND = 20.0  # Braket's quota of CreateQuantumTask
_SIMULATORS_AT_ONCE = 35  # Braket's quota of tasks that run on one simulator at the same time
_ONE_BY_ONE = 5  # so many tasks are asked for by themselves; more are looked up in lists
_LISTED = 100  # tasks in one answer
_MOST_PAGES = 20
_CANCEL_LOOKS, _CANCEL_PAUSE = 10, 0.5  # a device may take a moment to let go of a task
_SECONDS_PER_AMPLITUDE = 1e-8  # of a gate, generously
_STATES = {
    "CREATED": JobState.QUEUED,
    "QUEUED": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How tasks are made.

    Args:
        folder: Bucket and prefix of results; None for Braket's default bucket.
        max_parallel: How many tasks may wait or run at the same time.
        arguments: What else `CreateQuantumTask` takes, and what results may depend on.
        tags: Of each task.
    """

    folder: tuple[str, str] | None = None
    max_parallel: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class BraketProvider:
    """A device of Amazon Braket.

    Args:
        aws: The connection.
        device: The device's ARN.
        executor: The executor's name.
        options: How tasks are made.
    """

    name = NAME
    #: A task that is asked for again with its client token is not made again.
    idempotent = True

    def __init__(
        self, aws: AwsConnection, *, device: str, executor: str, options: TaskOptions
    ) -> None:
        self._aws, self.device = aws, device
        self._executor, self._options = executor, options
        self._pace = Pace(_CREATED_PER_SECOND)
        self._completed: dict[str, dict[str, Any]] = {}  #: as they were looked at last

    @property
    def account(self) -> str:
        """The account's number and the region, for which quotas hold."""
        return self._account

    @cached_property
    def _account(self) -> str:
        return f"{self._aws.account()} {self._aws.region}".strip()

    @cached_property
    def facts(self) -> DeviceFacts:
        """What Braket said of the device when it was asked first."""
        facts = self._ask_device()
        if not facts.runs_circuits:
            raise CircuitError(executor=self._executor, reason=f"{self.device} runs no circuits")
        return facts

    def _ask_device(self) -> DeviceFacts:
        return DeviceFacts.from_answer(self._aws.braket("get_device", deviceArn=self.device))

    @cached_property
    def price(self) -> Price | None:
        """What the device costs. What it says itself goes before tables, but not the user's own."""
        price = price_of(NAME, self.device)
        if price is None or price.own:
            return price
        if self.facts.shot_price is not None:
            price = replace(price, usd_per_shot=self.facts.shot_price)
        if self.facts.minute_price is not None:
            price = replace(price, usd_per_minute=self.facts.minute_price)
        return price

    @property
    def prices(self) -> str | None:
        """Where the device's price is from, and of which day."""
        return None if self.price is None else self.price.origin

    @property
    def limits(self) -> Limits:
        """A program set has as many programs as the device says; other tasks have one."""
        by_default = _SIMULATORS_AT_ONCE if self.facts.is_simulator else None
        return Limits(
            programs=self.facts.set_programs or 1,
            size=_MOST_BYTES,
            shots=self.facts.most_shots,
            total_shots=self.facts.set_shots,
            pending=self._options.max_parallel or by_default,
            per_second=_CREATED_PER_SECOND,
        )

    def translate(self, batch: CircuitBatch) -> Translation:
        """Circuits as OpenQASM. Tasks that are made otherwise are those of other programs."""
        translation = translate(batch, self.facts, self._executor)
        keyed = [replace(one, key=self._key(one)) for one in translation.programs]
        return replace(translation, programs=keyed)

    def _key(self, program: Program) -> str:
        made_with = json.dumps(self._options.arguments, sort_keys=True)
        return hashlib.sha256(f"{program.key}\n{made_with}".encode()).hexdigest()

    # -- tasks -----------------------------------------------------------------------------------

    def submit(self, programs: Sequence[Program], token: str) -> str:
        """Make a task; its ARN. With a token that is known it is the task that stands."""
        bucket, prefix = self._folder
        self._pace.wait()
        answer = self._aws.make_task(
            clientToken=token,
            deviceArn=self.device,
            shots=sum(program.shots or 0 for program in programs),
            outputS3Bucket=bucket,
            outputS3KeyPrefix=prefix,
            action=_action([program.payload for program in programs]),
            tags={**self._options.tags, _TAG: token},
            **self._options.arguments,
            **_of_hybrid_job(),
        )
        return str(answer["quantumTaskArn"])

    def sent(self, error: BaseException) -> bool | None:
        """An answer that refuses says that there is no task; no answer says nothing."""
        return was_sent(error)

    def look(self, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        """How tasks stand, but those that Braket does not know; many are looked up in its list."""
        views: dict[str, JobView] = {}
        if len(job_ids) > _ONE_BY_ONE:
            views = self._listed(set(job_ids))
        for arn in job_ids:
            # What a list says of the end of a task may be short of the reason.
            if arn not in views or views[arn].state is JobState.FAILED:
                try:
                    views[arn] = self._noted(self._task(arn))
                except CircuitError as error:
                    if not is_unknown(error):
                        raise
        return views

    def _noted(self, task: dict[str, Any]) -> JobView:
        """How a task stands; where the results of a completed one are need not be asked again."""
        view = _view(task)
        if view.state is JobState.COMPLETED:
            self._completed[task["quantumTaskArn"]] = task
        return view

    def _listed(self, wanted: set[str]) -> dict[str, JobView]:
        views: dict[str, JobView] = {}
        pages = -(-len(wanted) // _LISTED) + 1
        try:
            for task in self._tasks(pages):
                if task["quantumTaskArn"] in wanted:
                    views[task["quantumTaskArn"]] = self._noted(task)
                    if len(views) == len(wanted):
                        break
        except TransientFailure:
            raise
        except CircuitError:  # it may not be allowed; each task may be asked for by itself
            return views
        return views

    def _tasks(self, pages: int) -> Any:
        """The tasks of the device, newest first as Braket lists them."""
        filters = [{"name": "deviceArn", "operator": "EQUAL", "values": [self.device]}]
        more: dict[str, Any] = {}
        for _ in range(pages):
            answer = self._aws.braket(
                "search_quantum_tasks", filters=filters, maxResults=_LISTED, **more
            )
            yield from answer["quantumTasks"]
            if not answer.get("nextToken"):
                return
            more = {"nextToken": answer["nextToken"]}

    def _task(self, arn: str) -> dict[str, Any]:
        return self._aws.braket(
            "get_quantum_task", quantumTaskArn=arn, additionalAttributeNames=["QueueInfo"]
        )

    def find(self, token: str) -> str | None:
        """The task with a token among its tags, of the newest two thousand."""
        for task in self._tasks(_MOST_PAGES):
            if below(task, "tags").get(_TAG) == token:
                return str(task["quantumTaskArn"])
        return None

    def cancel(self, job_id: str) -> JobState:
        """Cancel a task; how it stands then, or a few seconds later."""
        try:
            answer = self._aws.braket("cancel_quantum_task", quantumTaskArn=job_id)
            state = _STATES[answer["cancellationStatus"]]
        except CircuitError:
            return _view(self._task(job_id)).state  # it may have ended by then
        for _ in range(_CANCEL_LOOKS):
            if state.over:
                break
            time.sleep(_CANCEL_PAUSE)
            state = _view(self._task(job_id)).state
        return state

    def fetch(self, job_id: str, programs: Sequence[Program]) -> JobOutput:
        """What came of a task, from its folder in S3."""
        task = self._completed.pop(job_id, None) or self._task(job_id)
        bucket, folder = task["outputS3Bucket"], task["outputS3Directory"]
        body: dict[str, Any] = self._aws.read(bucket, f"{folder}/results.json")
        payloads = [cast("BraketProgram", program.payload) for program in programs]
        if "programResults" in body:
            found, metadata = self._program_set(body, bucket)
            results: list[Any] = list(set_results(found, payloads, programs[0].shots or 0))
            shots = int(metadata.get("successfulShots", sum(one.shots or 0 for one in programs)))
        else:
            if "numSuccessfulShots" not in task and _rows(body) != task["shots"]:
                task = self._task(job_id)  # a list of tasks does not say how many have succeeded
            shots = _succeeded(task)
            results = [task_result(body, payloads[0], shots, job_id)]
        seconds = _simulated(body)
        return JobOutput(
            results=results,
            amounts=self._amounts(shots, seconds),
            seconds=seconds,
            metadata={"bucket": bucket, "folder": folder},
        )

    def _program_set(
        self, body: Mapping[str, Any], bucket: str
    ) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
        """The programs' results, of which parts may lie in files of their own, and the metadata."""
        bucket, folder = body.get("s3Location") or (bucket, "")
        metadata = self._followed(body["taskMetadata"], bucket, folder)
        programs: list[dict[str, Any]] = []
        for named in body["programResults"]:
            program = self._followed(named, bucket, folder)
            below = f"{folder}/{named}".removesuffix("/results.json")
            if isinstance(named, str):
                program["source"] = self._followed(program["source"], bucket, below)
                results = program["executableResults"]
                program["executableResults"] = [
                    self._followed(one, bucket, below) for one in results
                ]
            programs.append(program)
        return programs, metadata

    def _followed(self, value: Any, bucket: str, folder: str) -> Any:
        """A part of results, or what is in the file that stands in its place."""
        return self._aws.read(bucket, f"{folder}/{value}") if isinstance(value, str) else value

    # -- money -----------------------------------------------------------------------------------

    def used(self, job_id: str) -> Amounts | None:
        """What a task has used that did not complete: Braket charges for shots that succeeded."""
        task = self._task(job_id)
        shots = int(task.get("numSuccessfulShots") or 0)
        if _view(task).state not in (JobState.FAILED, JobState.CANCELLED):
            return None
        return self._amounts(shots, 0.0) if shots else {Unit.USD: 0.0, Unit.TASKS: 0, Unit.SHOTS: 0}

    def estimate(self, programs: Sequence[Program]) -> Amounts | None:
        """What one task with these programs costs.

        What a simulator takes is not known before: it is taken to be what its circuits' size lets
        expect, generously.
        """
        shots = sum(program.shots or 0 for program in programs)
        amounts: dict[str, float] = {Unit.TASKS: 1.0, Unit.SHOTS: float(shots)}
        if self.price is None:
            return amounts
        seconds = sum(_simulation_seconds(program.payload) for program in programs)
        usd = self.price.usd(tasks=1, shots=shots, seconds=seconds)
        return {**amounts, Unit.USD: usd}

    def _amounts(self, shots: int, seconds: float | None) -> Amounts:
        amounts: dict[str, float] = {Unit.TASKS: 1.0, Unit.SHOTS: float(shots)}
        known = seconds is not None or not self.facts.is_simulator
        if self.price is not None and known:
            amounts[Unit.USD] = self.price.usd(tasks=1, shots=shots, seconds=seconds or 0.0)
        return amounts

    # -- the device ------------------------------------------------------------------------------

    def online(self) -> bool:
        """Whether the device is online, and within the hours in which it runs tasks."""
        return self._ask_device().runs_at(dt.datetime.now(dt.UTC))

    def queue_depth(self) -> int | None:
        """How many tasks of all users wait for the device."""
        return self._ask_device().queue

    def running(self, jobs: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing: tasks need no session."""
        return nullcontext()

    @cached_property
    def _folder(self) -> tuple[str, str]:
        if self._options.folder is not None:
            return self._options.folder
        bucket = os.environ.get("AMZN_BRAKET_OUT_S3_BUCKET")  # as Braket's SDK has it
        if bucket is None:
            bucket = f"amazon-braket-{self._aws.region}-{self._aws.account()}"
            self._aws.make_bucket(bucket)
        return bucket, "tasks"


def _action(payloads: Sequence[BraketProgram]) -> str:
    """A program, or a set of several, as Braket's JSON."""
    programs: list[dict[str, Any]] = [
        {**_header("braket.ir.openqasm.program"), "source": payload.source, "inputs": {}}
        for payload in payloads
    ]
    if len(programs) == 1:
        return json.dumps(programs[0])
    return json.dumps({**_header("braket.ir.openqasm.program_set"), "programs": programs})


def _of_hybrid_job() -> dict[str, str]:
    """What tells that a task belongs to the hybrid job of Braket that this program runs in."""
    token = os.environ.get("AMZN_BRAKET_JOB_TOKEN")  # as Braket's SDK has it
    return {"jobToken": token} if token else {}


def _header(name: str) -> dict[str, Any]:
    return {"braketSchemaHeader": {"name": name, "version": "1"}}


def _view(task: Mapping[str, Any]) -> JobView:
    position = str(below(task, "queueInfo").get("position", ""))
    return JobView(
        state=_STATES[task["status"]],
        error=task.get("failureReason") or None,
        position=int(position) if position.isdecimal() else None,
    )


def _succeeded(task: Mapping[str, Any]) -> int:
    """How many shots of a completed task there are results of."""
    count = task.get("numSuccessfulShots")
    return int(count if count is not None else task["shots"])


def _rows(body: Mapping[str, Any]) -> int:
    return len(body.get("measurements") or ())


def _simulated(body: Mapping[str, Any]) -> float | None:
    """How many seconds a simulator says that it took."""
    metadata = below(below(body, "additionalMetadata"), "simulatorMetadata")
    milliseconds = metadata.get("executionDuration")
    return None if milliseconds is None else milliseconds / 1000


def _simulation_seconds(program: BraketProgram) -> float:
    return program.gates * 2.0**program.qubits * _SECONDS_PER_AMPLITUDE
