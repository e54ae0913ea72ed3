"""One run of circuits as jobs of a provider, from programs to results.

    programs -> those that a job of an earlier try has       -> wait -> fetch -> results in order
             -> the others in parts that the provider takes
                -> intent and money in the journal -> submit -> id in the journal

Killed at any point, it leaves a journal from which the next try goes on: a job whose id is there is
waited for; one that was only asked for is sought by its token. If nobody can tell whether the
provider has it, that is said, and it is not submitted again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qcov import budget
from qcov.budget import Budget
from qcov.context import Try, get_context
from qcov.errors import (
    CircuitError,
    CircuitRejected,
    CircuitTimedOut,
    ExecutorOffline,
    JobLost,
    QuotaExceeded,
    TransientFailure,
    UnknownSubmission,
)
from qcov.journal import Intent, JobEntry, Journal, Shortfall, State
from qcov.policy import ErrorKind
from qcov.qexecutors.claims import Claims, Place, current_try
from qcov.qexecutors.provider import JobState, JobView, Program, Provider, Translation
from qcov.qexecutors.splitting import parts
from qcov.records import error_text, process_id

_SHORTEST, _GROWTH = 0.02, 1.5  # seconds before the second look, and how waits grow
_KNOWN_AFTER = 60.0  # seconds that a provider may need until it knows a job that it has taken
_ONLINE_EVERY = 30.0  # seconds between two questions whether a device still runs jobs


class Clock(Protocol):
    """What a run needs of time; tests have a fake one."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The real time."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms circuits run as jobs.

    Args:
        executor: What the executor is called.
        longest_pause: Seconds between two looks at jobs, at most.
        patience: Seconds that a provider may be out of reach.
        time_limit: Seconds that jobs may take; then they are cancelled.
        others: Whether another executor may take what this device leaves waiting.
        resubmit_unknown: Whether to submit again what may have been submitted.
        budgets: What pays for the jobs.
        prices: Which prices estimates are made from.
    """

    executor: str
    longest_pause: float = 2.0
    patience: float = 900.0
    time_limit: float | None = None
    others: bool = False
    resubmit_unknown: bool = False
    budgets: Sequence[Budget] = ()
    prices: str | None = None


@dataclass(slots=True, kw_only=True)
class Part:
    """A job, and what this run wants of it.

    Args:
        token: What the provider knows it by before it has an id.
        programs: All of the job.
        wanted: Numbers of programs of this run, by their numbers in the job.
        job_id: Once it is known.
    """

    token: str
    programs: Sequence[Program]
    wanted: Mapping[int, int]
    job_id: str | None = None
    begun: float = 0.0
    running: float | None = None  #: since when it is known to run
    unread: float | None = None  #: since when its results are there and cannot be read
    absent: float | None = None  #: since when the provider does not know it
    timing: dict[str, float] = field(default_factory=dict[str, float])
    amounts: Mapping[str, float] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.job_id or self.token

    @property
    def places(self) -> list[Place]:
        """Where what is wanted is."""
        return [(self.token, number) for number in self.wanted]


class JobRun:
    """Runs the programs of a batch; use `results` once.

    Args:
        provider: Where.
        translation: The programs.
        terms: On which terms.
        classify: What errors say about another try.
        journal: Where jobs are written down.
        keep: Makes what is kept of the run, from its id and the programs of each part, so that the
            results of its jobs can be read later.
        programs_of: Gives back all programs of a job that was kept so.
        again: A job of an earlier run whose jobs are waited for again; nothing is submitted.
        clock: What time it is.
    """

    def __init__(
        self,
        provider: Provider,
        translation: Translation,
        terms: Terms,
        *,
        classify: Callable[[BaseException], ErrorKind],
        journal: Journal,
        keep: Callable[[str, Sequence[Sequence[int]]], None],
        programs_of: Callable[[JobEntry], Sequence[Program] | None],
        again: JobEntry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._provider, self._terms = provider, terms
        self._programs, self._owners = translation.programs, translation.owners
        self._classify = classify
        self._journal = journal
        self._keep, self._programs_of = keep, programs_of
        self._clock = clock or SystemClock()
        self._context, self._again = get_context(), again
        self._claims = Claims(Try() if again else current_try())
        self._run = secrets.token_hex(16)
        self._raw: list[Any] = [None] * len(self._programs)
        self._open: list[Part] = []
        self._waiting: list[tuple[int, list[int]]] = []
        self.parts: list[Part] = []  #: all jobs that something was wanted of
        self._started = self._clock.now()
        self._reached = self._asked = self._started
        self._pause = _SHORTEST

    def results(self) -> list[Any]:
        """A raw result or an exception for each program.

        Raises whatever kept all programs from being submitted.
        """
        try:
            return self._results()
        finally:
            self._give_back_failed()

    def _results(self) -> list[Any]:
        left = self._take_over()
        if self._again:
            reason = "its job was never submitted, or belongs to an earlier run"
            for number in left:
                self._raw[number] = CircuitError(executor=self._terms.executor, reason=reason)
            left = []
        self._waiting = list(enumerate(self._cut(left)))
        if self._waiting:
            self._keep(self._run, [part for _, part in self._waiting])
        with self._provider.running(len(self._waiting)):
            while self._waiting or self._open:
                self._start_more()
                self._look()
                if self._waiting or self._open:
                    self._rest()
        return self._raw

    def _cut(self, numbers: Sequence[int]) -> list[list[int]]:
        programs = [self._programs[number] for number in numbers]
        cut = parts(programs, self._provider.limits)
        return [[numbers[place] for place in part] for part in cut]

    # -- jobs of an earlier try ----------------------------------------------------------------

    def _take_over(self) -> list[int]:
        """Find programs that earlier jobs have; the numbers of the others."""
        if self._again and self._again.account != self._account:
            reason = (
                f"it was submitted as {self._again.account}, and the executor is {self._account}"
            )
            raise JobLost(executor=self._terms.executor, job=self._again.name, reason=reason)
        jobs = self._journal.of_scope(self._scope, self._account, self._provider.device)
        if self._again:
            jobs = [(entry, keys) for entry, keys in jobs if entry.run == self._again.run]
        if not jobs:
            return list(range(len(self._programs)))
        found = self._claims.take_over(jobs, [program.key for program in self._programs])
        wanted: dict[str, dict[int, int]] = {}
        for number, (token, place) in found.items():
            wanted.setdefault(token, {})[place] = number
        for entry, _ in jobs:
            if entry.token in wanted:
                self._adopt(entry, wanted[entry.token])
        return [number for number in range(len(self._programs)) if number not in found]

    def _adopt(self, entry: JobEntry, wanted: Mapping[int, int]) -> None:
        """Go on with a job of an earlier try."""
        part = Part(
            token=entry.token,
            programs=self._all_programs(entry, wanted),
            wanted=wanted,
            job_id=entry.job_id,
            begun=self._clock.now(),
        )
        self.parts.append(part)
        try:
            if part.job_id is None:
                part.job_id = self._found_again(part)
        except Exception as error:  # noqa: BLE001  # it is the circuits' that were in the job
            self._fail(part, error)
        else:
            self._open.append(part)

    def _all_programs(self, entry: JobEntry, wanted: Mapping[int, int]) -> Sequence[Program]:
        if len(wanted) == entry.programs:
            return [self._programs[wanted[place]] for place in range(entry.programs)]
        return self._programs_of(entry) or [
            self._programs[wanted[place]] if place in wanted else _UNWANTED
            for place in range(entry.programs)
        ]

    def _found_again(self, part: Part) -> str:
        """The id of a job that was asked for by a process that is gone."""
        job_id = self._sought(part)
        if job_id is None:
            knows_all = all(program is not _UNWANTED for program in part.programs)
            if (self._provider.idempotent or self._terms.resubmit_unknown) and knows_all:
                return self._submit(part)
            raise self._unknown(part, "who asked for it was stopped before an answer came")
        self._journal.submitted(part.token, job_id)
        return job_id

    def _unknown(self, part: Part, reason: str) -> UnknownSubmission:
        self._journal.unknown(part.token, reason)
        return UnknownSubmission(executor=self._terms.executor, job=part.token, reason=reason)

    # -- new jobs ------------------------------------------------------------------------------

    def _start_more(self) -> None:
        """Submit what waits, as far as the provider takes it."""
        while self._waiting:
            number, numbers = self._waiting[0]
            part = self._new_part(numbers)
            try:
                if not self._intended(part, number):
                    return  # too many jobs wait already
                self.parts.append(part)
                self._claims.take(part.places)
                self._submit(part)
            except UnknownSubmission as error:
                self._waiting.pop(0)
                self._fail(part, error)
                reason = (
                    f"nothing more was submitted after job {part.token}, of which nothing is known"
                )
                self._refuse(ExecutorOffline(executor=self._terms.executor, reason=reason))
                return
            except Exception as error:  # noqa: BLE001  # a provider's own: it is raised, or a result
                self._refuse(error)
                return
            self._waiting.pop(0)
            self._open.append(part)

    def _new_part(self, numbers: Sequence[int]) -> Part:
        return Part(
            token=secrets.token_hex(16),
            programs=[self._programs[number] for number in numbers],
            wanted=dict(enumerate(numbers)),
            begun=self._clock.now(),
        )

    def _intended(self, part: Part, number: int) -> bool:
        """Write down a job before it is submitted; False if it has to wait for others."""
        limit, context = self._provider.limits.pending, self._context
        intent = Intent(
            token=part.token,
            run=self._run,
            part=number,
            scope=self._scope,
            dispatch_id=context.dispatch_id if context else None,
            node_id=context.node_id if context else None,
            provider=self._provider.name,
            device=self._provider.device,
            account=self._account,
            keys=[program.key for program in part.programs],
            shots=_shots(part.programs),
            estimate=self.estimate(part.programs),
            prices=self._terms.prices,
        )
        answer = self._journal.intend(intent, budget.allowances(self._terms.budgets), limit)
        if isinstance(answer, Shortfall):
            raise budget.exceeded(self._terms.executor, answer, self._terms.budgets)
        if answer is not None and not self._open:
            self._make_room(answer)
        return answer is None

    def estimate(self, programs: Sequence[Program]) -> dict[str, float]:
        """What a job with these programs costs at most, by unit."""
        return estimated(self._provider, programs)

    def _make_room(self, count: int) -> None:
        """See whether jobs of others, which this one waits for, have ended."""
        entries = [one for one in self._journal.open_of_account(self._account) if one.job_id]
        mine = [entry for entry in entries if entry.device == self._provider.device]
        views = self._asked_for([entry.name for entry in mine])
        if views is None:
            return
        for entry in mine:
            view = views.get(entry.name)
            if view is not None and view.state.over:
                self._note_end(entry.token, entry.name, view)
        if self._late():
            reason = (
                f"{count} of its jobs wait or run, and it takes no more; `qcov jobs` lists them"
            )
            raise QuotaExceeded(executor=self._terms.executor, reason=reason)

    def _note_end(self, token: str, job_id: str, view: JobView) -> None:
        """Write down the end of a job whose results nobody here wants."""
        state = State(view.state)
        amounts = None if state is State.COMPLETED else self._used(job_id)
        self._journal.ended(token, state, amounts, view.error)

    def _submit(self, part: Part) -> str:
        """Submit a job whose intent is written down, and write down its id."""
        while True:
            try:
                job_id = self._provider.submit(part.programs, part.token)
            except Exception as error:  # noqa: BLE001  # a provider's own
                job_id = self._after_failed_submit(part, error)
            if job_id is not None:
                part.job_id = job_id
                self._journal.submitted(part.token, job_id)
                self._reached = self._clock.now()
                return job_id

    def _after_failed_submit(self, part: Part, error: Exception) -> str | None:
        """The id of a job whose submission failed and that is there all the same.

        None if it may be submitted again; raises if not.
        """
        if self._provider.sent(error) is False:
            self._journal.ended(part.token, State.REFUSED, {}, error_text(error))
            raise error
        job_id = self._sought(part)
        if job_id is not None:
            return job_id
        if self._provider.idempotent and self._may_pass(error) and self._patient():
            self._rest()
            return None
        raise self._unknown(part, error_text(error)) from error

    def _sought(self, part: Part) -> str | None:
        """Ask the provider for a job by its token."""
        while True:
            try:
                return self._provider.find(part.token)
            except Exception as error:
                if not self._may_pass(error) or not self._patient():
                    raise self._unknown(part, error_text(error)) from error
            self._rest()

    def _refuse(self, error: Exception) -> None:
        """Nothing more is submitted; raise if nothing was."""
        if not self.parts or not (self._open or self._has_results()):
            self._waiting.clear()
            raise error
        for _, numbers in self._waiting:
            for number in numbers:
                self._raw[number] = error
        self._waiting.clear()

    def _has_results(self) -> bool:
        return any(raw is not None for raw in self._raw)

    # -- waiting -------------------------------------------------------------------------------

    def _rest(self) -> None:
        self._clock.sleep(self._pause)
        self._pause = min(self._pause * _GROWTH, self._terms.longest_pause)

    def _look(self) -> None:
        """See how jobs stand, and take what has come of them."""
        views = self._asked_for([part.name for part in self._open])
        for part in tuple(self._open) if views is not None else ():
            view = (views or {}).get(part.name)
            if view is None:
                self._miss(part)
            else:
                self._take_note(part, view)
        self._leave_offline()
        if self._open and self._late():
            limit = self._terms.time_limit or 0.0
            self._give_up(self._open, CircuitTimedOut(executor=self._terms.executor, seconds=limit))

    def _miss(self, part: Part) -> None:
        """The provider does not know a job; some need a while to know one everywhere."""
        part.absent = part.absent or self._clock.now()
        if self._clock.now() - part.absent > _KNOWN_AFTER:
            reason = f"{self._provider.name} knows no such job, as {self._account}"
            self._fail(part, JobLost(executor=self._terms.executor, job=part.name, reason=reason))

    def _asked_for(self, job_ids: Sequence[str]) -> Mapping[str, JobView] | None:
        """How jobs stand; None if the provider is out of reach for a while."""
        if not job_ids:
            return {}
        try:
            views = self._provider.look(job_ids)
        except Exception as error:  # noqa: BLE001  # a provider's own
            if self._may_pass(error) and self._patient():
                return None
            self._lose(error)
            return None
        self._reached = self._clock.now()
        return views

    def _take_note(self, part: Part, view: JobView) -> None:
        if view.state is JobState.RUNNING and part.running is None:
            part.running = self._clock.now()
        if not view.state.over:
            return
        if view.state is JobState.COMPLETED:
            self._fetch(part)
            return
        state = State(view.state)
        part.amounts = self._used(part.name)
        self._journal.ended(part.token, state, part.amounts, view.error)
        reason = f"its job {part.name} {_ENDS[state]}: {view.error or 'the provider says no more'}"
        self._fail(part, _FAILURES[view.kind](executor=self._terms.executor, reason=reason))

    def _fetch(self, part: Part) -> None:
        began = self._clock.now()
        try:
            output = self._provider.fetch(part.name, part.programs)
        except Exception as error:  # noqa: BLE001  # a provider's own
            part.unread = part.unread or began
            if self._may_pass(error) and began - part.unread < self._terms.patience:
                return
            self._journal.ended(part.token, State.COMPLETED, None, error_text(error))
            self._fail(part, self._lost(part, error))
            return
        self._reached = self._clock.now()
        if len(output.results) != len(part.programs):
            count = f"{len(output.results)} results for {len(part.programs)} circuits"
            error = CircuitError(executor=self._terms.executor, reason=_garbled(part.name, count))
            self._journal.ended(part.token, State.COMPLETED, output.amounts, str(error))
            self._fail(part, error)
            return
        self._journal.ended(part.token, State.COMPLETED, output.amounts)
        part.amounts, part.metadata = output.amounts, output.metadata
        part.timing |= self._timing(part, began, output.seconds)
        self._open.remove(part)
        for place, number in part.wanted.items():
            self._raw[number] = output.results[place]

    def _timing(self, part: Part, fetching: float, seconds: float | None) -> dict[str, float]:
        waited = fetching - part.begun
        run = seconds if seconds is not None else fetching - (part.running or part.begun)
        fetch = self._clock.now() - fetching
        return {"queue": max(0.0, waited - run), "run": run, "fetch": fetch}

    def _used(self, job_id: str) -> Mapping[str, float] | None:
        try:
            return self._provider.used(job_id)
        except Exception:  # noqa: BLE001  # then the estimate counts
            return None

    # -- what goes wrong -----------------------------------------------------------------------

    def _late(self) -> bool:
        limit = self._terms.time_limit
        return limit is not None and self._clock.now() - self._started >= limit

    def _patient(self) -> bool:
        return self._clock.now() - self._reached < self._terms.patience and not self._late()

    def _may_pass(self, error: Exception) -> bool:
        """Whether the provider may answer if it is asked again."""
        return self._classify(error) is not ErrorKind.PERMANENT

    def _leave_offline(self) -> None:
        """Take what waits for a device that runs no jobs any more elsewhere."""
        now = self._clock.now()
        if not (self._terms.others and self._open) or now - self._asked < _ONLINE_EVERY:
            return
        self._asked = now
        try:
            if self._provider.online():
                return
        except Exception:  # noqa: BLE001  # no answer says nothing about the device
            return
        queued = [part for part in self._open if part.running is None]
        reason = f"{self._provider.device} went offline while its jobs were queued"
        offline = ExecutorOffline(executor=self._terms.executor, reason=reason)
        self._give_up(queued, offline, may_stay=True)

    def _give_up(
        self, given_up: Iterable[Part], error: CircuitError, *, may_stay: bool = False
    ) -> None:
        """Cancel jobs. Only what the provider confirms to be cancelled may run elsewhere."""
        for part in tuple(given_up):
            try:
                state = self._provider.cancel(part.name)
            except Exception:  # noqa: BLE001  # nothing is confirmed
                state = JobState.QUEUED
            if state is JobState.CANCELLED:
                part.amounts = self._used(part.name)
                self._journal.ended(part.token, State.CANCELLED, part.amounts, str(error))
                self._fail(part, error)
            elif not may_stay:
                self._fail(part, self._lost(part, error))

    def _lost(self, part: Part, error: Exception) -> JobLost:
        lost = JobLost(executor=self._terms.executor, job=part.name, reason=error_text(error))
        lost.__cause__ = error
        return lost

    def _lose(self, error: Exception) -> None:
        """The provider is out of reach for good: its jobs stay in the journal."""
        for part in tuple(self._open):
            self._fail(part, self._lost(part, error))
        if self._waiting:
            self._refuse(error)

    def _fail(self, part: Part, error: Exception) -> None:
        if part in self._open:
            self._open.remove(part)
        for number in part.wanted.values():
            self._raw[number] = error

    def _give_back_failed(self) -> None:
        """What has no result may be sought again by the next try."""
        for part in self.parts:
            failed = [
                (part.token, place)
                for place, number in part.wanted.items()
                if self._raw[number] is None or isinstance(self._raw[number], BaseException)
            ]
            self._claims.give_back(failed)

    # -- who asks ------------------------------------------------------------------------------

    @property
    def _scope(self) -> str:
        if self._again:
            return self._again.scope
        context = self._context
        return f"{context.dispatch_id}:{context.node_id}" if context else f"process:{process_id()}"

    @property
    def _account(self) -> str:
        return f"{self._provider.name} {self._provider.account}".strip()


_UNWANTED = Program(payload=None, key="", shots=None)
_FAILURES: Mapping[ErrorKind, type[CircuitError]] = {
    ErrorKind.TRANSIENT: TransientFailure,
    ErrorKind.QUOTA: QuotaExceeded,
    ErrorKind.OFFLINE: ExecutorOffline,
    ErrorKind.PERMANENT: CircuitRejected,
}
_ENDS = {State.FAILED: "failed", State.CANCELLED: "was cancelled"}


def estimated(provider: Provider, programs: Sequence[Program]) -> dict[str, float]:
    """What one job with these programs costs at most, by unit."""
    known = provider.estimate(programs) or {}
    amounts = {budget.Unit.TASKS: 1.0, budget.Unit.SHOTS: float(_shots(programs)), **known}
    return {str(unit): amount for unit, amount in amounts.items()}


def _shots(programs: Iterable[Program]) -> int:
    return sum(program.shots or 0 for program in programs)


def _garbled(job: str, what: str) -> str:
    return (
        f"its job {job} gave {what}. It was charged; `qcov jobs attach {job}` asks for them again"
    )
