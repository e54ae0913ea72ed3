"""IBM Quantum as executors reach it: one backend, by IBM's SDK.

Part of the adapter around IBM's SDK: only what starts with `ibm_` imports it.
"""

# pyright: basic

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2

from qcov.errors import TransientFailure
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.ibm_account import FREE_PLAN, Account, http_as_it_was, id_of
from qcov.qexecutors.ibm_backends import Chosen, JobSettings, choose
from qcov.qexecutors.ibm_calls import Calls
from qcov.qexecutors.ibm_costs import (
    PROVIDER,
    charged,
    limits_of,
    price_on,
    seconds_of_job,
    shots_of,
    size_of,
    used_by,
)
from qcov.qexecutors.ibm_errors import is_unknown, was_sent
from qcov.qexecutors.ibm_keys import key_of
from qcov.qexecutors.ibm_results import in_order
from qcov.qexecutors.prices import Price
from qcov.qexecutors.provider import (
    Amounts,
    JobOutput,
    JobState,
    JobView,
    Limits,
    Program,
    Translation,
)
from qcov.qexecutors.qiskit_fitting import Fitted, sweeps_of
from qcov.qexecutors.qiskit_programs import Translator

_T = TypeVar("_T")
_log = logging.getLogger("qcov.ibm")

_SECONDS = 180.0  #: for what is not the sending of circuits
_SENDING = 900.0  #: the SDK's own
_TRIES = 3  #: to close a batch
_TAGS = ("qcov",)  #: of all jobs, besides the token of each
_MOST = 10  #: jobs with one token, of which there should be one

_STATES = {
    "INITIALIZING": JobState.QUEUED,
    "QUEUED": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "DONE": JobState.COMPLETED,
    "ERROR": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}


class _Own(threading.local):
    """What belongs to the run of one thread."""

    mode: Any = None  #: the batch that is open
    capped = False  #: whether jobs may take no longer than their estimate
    most_shots = 1  #: of a program
    transpiling = 0.0  #: seconds, of all circuits together


class IBMProvider:
    """One backend of IBM Quantum. Safe under threads.

    Args:
        account: Whose.
        backend: Its name; None for the least busy one that has enough qubits.
        settings: How jobs are made.
        earlier: Gives the name of the backend that has jobs of the same electron already, from the
            account; it goes before the least busy one.
    """

    name = PROVIDER
    idempotent = False

    def __init__(
        self,
        account: Account,
        backend: str | None,
        settings: JobSettings,
        earlier: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._settings, self._wanted, self._earlier = settings, backend, earlier
        self._own = _Own()
        self._calls = Calls()
        self._jobs: dict[str, Any] = {}
        self._choosing = threading.Lock()
        self._chosen: Chosen | None = None
        self._service: Any = self._ask(account.connect)

    # -- which backend -----------------------------------------------------------------------

    def _backend(self, qubits: int = 1) -> Chosen:
        """The backend, chosen the first time that somebody needs it."""
        with self._choosing:
            if self._chosen is None:
                self._chosen = self._ask(lambda: self._choose(qubits))
            return self._chosen

    def _choose(self, qubits: int) -> Chosen:
        account = id_of(self._service.active_instance())
        name = self._wanted or self._earlier(account)
        with http_as_it_was():
            return choose(self._service, name, qubits, self._settings)

    @property
    def device(self) -> str:
        """The backend's name."""
        return self._backend().backend.name

    @property
    def account(self) -> str:
        """The instance that pays."""
        return self._backend().account

    # -- what it takes -----------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """What IBM documents, for programs with as many shots as those of this thread's run."""
        return limits_of(
            free=self._backend().plan.get("plan") == FREE_PLAN,
            together=self._settings.together,
            most_jobs=self._settings.most_jobs,
            shots=self._own.most_shots,
        )

    def translate(self, batch: CircuitBatch) -> Translation:
        """Programs that fit the backend; circuits are transpiled here, before anything is open."""
        qubits = max((len(circuit.wires) for circuit in batch.circuits), default=1)
        chosen = self._backend(qubits)
        programs = self._translator(chosen).programs(batch)
        self._own.most_shots = max((pub.shots for pub in programs.pubs), default=1)
        begun = time.perf_counter()
        fitted = [chosen.fitting.fit(pub) for pub in programs.pubs]
        self._own.transpiling = time.perf_counter() - begun
        return Translation(
            programs=[
                Program(
                    payload=one,
                    key=key_of(one.pub, self._settings),
                    shots=one.pub.shots,
                    size=size_of(one),
                )
                for one in fitted
            ],
            read=programs.read,
            owners=programs.owners,
        )

    @property
    def transpiling(self) -> float:
        """Seconds that fitting the circuits took which this thread had translated last."""
        return self._own.transpiling

    def refusal(self, batch: CircuitBatch) -> str | None:
        """Why the backend cannot run the only circuit of a batch; None if it can."""
        chosen = self._backend(len(batch.circuits[0].wires))
        programs = self._translator(chosen).programs(batch)
        (value,) = (None,) if programs.pubs else programs.read([])
        return getattr(value, "reason", None)

    def _translator(self, chosen: Chosen) -> Translator:
        return Translator(
            executor=self._settings.executor,
            qubits=chosen.backend.num_qubits,
            dynamic="if_else" in chosen.backend.operation_names,
            estimate=self._settings.options.resilience_level > 0,
        )

    # -- jobs --------------------------------------------------------------------------------

    def submit(self, programs: Sequence[Program], token: str) -> str:
        """Submit one job, with the token among its tags.

        The SDK's HTTP library asks again by itself where a connection breaks after the job was
        made (urllib3 takes the end of a TLS stream for one that never began). What was made twice
        by that is cancelled at once.
        """
        fitted = [program.payload for program in programs]
        mode, seconds = self._own.mode, self._most_seconds(programs)
        target = mode or self._backend().backend
        job = self._ask(lambda: self._run(fitted, token, target, seconds), _SENDING)
        job_id = self._known(job).job_id()
        self._cancel_others(job_id, token)
        return job_id

    def _cancel_others(self, job_id: str, token: str) -> None:
        """Cancel all jobs with a token but one."""
        try:
            for other in self._ask(lambda: self._with_token(token)):
                if other != job_id:
                    state = self.cancel(other)
                    _log.warning("job %s was made twice: %s is %s", job_id, other, state)
        except Exception as error:  # noqa: BLE001  # the job is there, and must be known
            _log.warning("whether job %s was made twice is not known: %s", job_id, error)

    def _with_token(self, token: str) -> list[str]:
        """The jobs with a token among their tags, oldest first."""
        found = self._service.jobs(limit=_MOST, job_tags=[token], descending=False)
        return [job.job_id() for job in found]

    def _run(self, fitted: Sequence[Fitted], token: str, target: Any, seconds: int | None) -> Any:
        sweeps: Any = list(enumerate(sweeps_of(fitted)))
        options = self._settings.options
        if fitted[0].pub.observables:
            settings = {**options.estimator, "resilience_level": options.resilience_level}
            primitive: Any = EstimatorV2(mode=target, options=_tagged(settings, token, seconds))
            return primitive.run([sweep.for_estimator(number) for number, sweep in sweeps])
        primitive = SamplerV2(mode=target, options=_tagged(options.sampler, token, seconds))
        return primitive.run([sweep.for_sampler(number) for number, sweep in sweeps])

    def look(self, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        """How jobs stand, but for those that IBM does not know: the SDK asks for each of them."""
        views = {job_id: self._ask(lambda one=job_id: self._view(one)) for job_id in job_ids}
        return {job_id: view for job_id, view in views.items() if view is not None}

    def _view(self, job_id: str) -> JobView | None:
        try:
            job = self._job(job_id)
            status = job.status()
        except Exception as error:
            if not is_unknown(error):
                raise
            self._jobs.pop(job_id, None)
            return None
        state = _STATES.get(status, JobState.RUNNING)
        return JobView(state=state, error=job.error_message() if state is JobState.FAILED else None)

    def fetch(self, job_id: str, programs: Sequence[Program]) -> JobOutput:
        """The results, put into the order in which circuits were sent.

        Raises:
            TransientFailure: They came damaged.
        """
        result, usage = self._ask(lambda: self._result(job_id), _SENDING)
        results = in_order(result, programs)
        if results is None:
            reason = f"the results of job {job_id} came damaged"
            raise TransientFailure(reason, executor=self._settings.executor)
        self._jobs.pop(job_id, None)
        return JobOutput(
            results=results,
            amounts=used_by(self._price, usage, shots_of(programs)),
            seconds=usage,
            metadata=self._backend().told,
        )

    def _result(self, job_id: str) -> tuple[Any, float | None]:
        job = self._job(job_id)
        return job.result(), self._usage(job)

    def used(self, job_id: str) -> Amounts | None:
        """What IBM charges for a job; nothing if it never ran."""
        return used_by(self._price, self._ask(lambda: self._usage(self._job(job_id))))

    def _usage(self, job: Any) -> float | None:
        usage = job.metrics().get("usage", {}).get("quantum_seconds")
        return None if usage is None else float(usage)

    def cancel(self, job_id: str) -> JobState:
        """Cancel a job that has not ended."""
        return self._ask(lambda: self._cancel(job_id))

    def _cancel(self, job_id: str) -> JobState:
        try:
            self._job(job_id).cancel()
        except Exception as error:
            if type(error).__name__ != "RuntimeInvalidStateError":  # it has ended
                raise
        self._jobs.pop(job_id, None)  # which believes that it is cancelled
        return _STATES.get(self._job(job_id).status(), JobState.RUNNING)

    def find(self, token: str) -> str | None:
        """The oldest job with a token among its tags."""
        found = self._ask(lambda: self._with_token(token))
        return found[0] if found else None

    def _job(self, job_id: str) -> Any:
        found = self._jobs.get(job_id)
        return found or self._known(self._service.job(job_id))

    def _known(self, job: Any) -> Any:
        self._jobs[job.job_id()] = job
        return job

    # -- the backend -------------------------------------------------------------------------

    def online(self) -> bool:
        """Whether the backend is operational."""
        return bool(self._status().operational)

    def queue_depth(self) -> int | None:
        """How many jobs wait for it."""
        return self._status().pending_jobs

    def _status(self) -> Any:
        return self._ask(self._backend().backend.status)

    # -- money -------------------------------------------------------------------------------

    def estimate(self, programs: Sequence[Program]) -> Amounts | None:
        """What a job costs at most; those that budgets pay for are ended there."""
        return charged(self._price, self._seconds(programs))

    def _seconds(self, programs: Sequence[Program]) -> float:
        resilience = self._settings.options.resilience_level
        seconds = seconds_of_job(programs, self._backend().backend, resilience)
        return float(min([seconds, *self._limits_of_time()]))

    @property
    def prices(self) -> str | None:
        """Where the price of a second is from; None without one, or before a backend is chosen."""
        price = None if self._chosen is None else self._price
        return None if price is None else price.origin

    @property
    def _price(self) -> Price | None:
        return price_on(self._backend().plan)

    def _limits_of_time(self) -> list[float]:
        told = (self._settings.max_time, self._settings.options.sampler.get("max_execution_time"))
        return [float(one) for one in told if one is not None]

    def _most_seconds(self, programs: Sequence[Program]) -> int | None:
        """What a job may take: what the user says, and what its budget has reserved."""
        bounds = self._limits_of_time()
        if self._own.capped:
            bounds.append(self._seconds(programs))
        return max(1, math.ceil(min(bounds))) if bounds else None

    @contextmanager
    def capped(self, *, capped: bool) -> Generator[None]:
        """End jobs of this thread that take longer than was estimated, if a budget pays."""
        self._own.capped = capped
        try:
            yield
        finally:
            self._own.capped = False

    # -- batches -----------------------------------------------------------------------------

    @contextmanager
    def running(self, jobs: int) -> Generator[None]:
        """Around several jobs, a batch of IBM's, so that they are queued as one; always closed."""
        self._own.mode = self._opened() if jobs > 1 else None
        try:
            yield
        finally:
            mode, self._own.mode = self._own.mode, None
            if mode is not None:
                self._close(mode)

    def _opened(self) -> Any:
        """A new batch; None where there is none to be had: jobs do without."""
        backend = self._backend().backend
        try:
            return self._ask(lambda: Batch(backend=backend))
        except Exception as error:  # noqa: BLE001  # it only makes them run one after the other
            _log.warning("no batch for the jobs on %s: %s", self.device, error)
            return None

    def _close(self, mode: Any) -> None:
        for _ in range(_TRIES):
            try:
                self._ask(mode.close)
            except Exception as error:  # noqa: BLE001  # the results are worth more
                _log.warning("batch %s could not be closed: %s", mode.session_id, error)
            else:
                return

    def sent(self, error: BaseException) -> bool | None:
        """After `submit` failed: False if there is no job, None if that cannot be known."""
        return was_sent(error)

    def _ask(self, call: Callable[[], _T], seconds: float | None = None) -> _T:
        return self._calls.ask(call, _SECONDS if seconds is None else seconds)


def _tagged(options: Mapping[str, Any], token: str, seconds: int | None) -> dict[str, Any]:
    environment = dict(options.get("environment", {}))
    environment["job_tags"] = [*(environment.get("job_tags") or ()), *_TAGS, token]
    limit = {} if seconds is None else {"max_execution_time": seconds}
    return {**options, **limit, "environment": environment}
