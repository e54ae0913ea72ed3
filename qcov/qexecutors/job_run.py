"""One run of circuits as jobs of a provider, from programs to results.

    programs -> those that a job of an earlier try has       -> wait -> fetch -> results in order
             -> the others in parts that the provider takes
                -> intent and money in the journal -> submit -> id in the journal

Killed at any point, it leaves a journal from which the next try goes on: a job whose id is there is
waited for; one that was only asked for is sought by its token (see `qcov.qexecutors.submission`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from qcov import budget
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
from qcov.job_entries import Intent, JobEntry, Shortfall, State
from qcov.journal import Journal
from qcov.policy import ErrorKind
from qcov.qexecutors.claims import Claims, current_try
from qcov.qexecutors.job_terms import Clock, Part, SystemClock, Terms
from qcov.qexecutors.pace import Pace
from qcov.qexecutors.provider import JobState, JobView, Program, Provider, Translation
from qcov.qexecutors.room import Room
from qcov.qexecutors.splitting import parts
from qcov.qexecutors.submission import KNOWN_AFTER, UNWANTED, Contact, Submission
from qcov.records import error_text, process_id

_ONLINE_EVERY = 30.0  # seconds between two questions whether a device still runs jobs


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
        pace: What requests keep to.
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
        pace: Pace | None = None,
    ) -> None:
        self._provider, self._terms = provider, terms
        self._programs = translation.programs
        self._clock = clock or SystemClock()
        self._journal = journal
        self._contact = Contact(provider, terms, classify, self._clock, pace)
        self._submission = Submission(self._contact, journal)
        self._keep, self._programs_of = keep, programs_of
        self._context, self._again = get_context(), again
        self._claims = Claims(Try() if again else current_try())
        self._run = secrets.token_hex(16)
        self._raw: list[Any] = [None] * len(self._programs)
        self._open: list[Part] = []
        self._waiting: list[tuple[int, list[int]]] = []
        self.parts: list[Part] = []  #: all jobs that something was wanted of
        self._asked = self._clock.now()  # whether the device is online
        self._room = Room(self._contact, journal, self._account)

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
        self._waiting = list(enumerate(self._cut(self._within_limits(left))))
        if self._waiting:
            self._keep(self._run, [part for _, part in self._waiting])
        with self._provider.running(len(self._waiting)):
            while self._waiting or self._open:
                self._start_more()
                self._look()
                if self._waiting or self._open:
                    self._contact.rest()
        return self._raw

    def _within_limits(self, numbers: Iterable[int]) -> list[int]:
        """Those of the programs that the provider takes; the others are refused here."""
        most = self._provider.limits.shots
        kept: list[int] = []
        for number in numbers:
            shots = self._programs[number].shots or 0
            if most is None or shots <= most:
                kept.append(number)
                continue
            reason = f"{self._provider.device} takes {most} shots, not {shots}"
            self._raw[number] = CircuitRejected(executor=self._terms.executor, reason=reason)
        return kept

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
        keys = [program.key for program in self._programs]
        jobs = self._journal.of_scope(self._scope, self._account, self._provider.device, keys)
        if self._again:
            jobs = [(entry, keys) for entry, keys in jobs if entry.run == self._again.run]
        if not jobs:
            return list(range(len(self._programs)))
        found = self._claims.take_over(jobs, keys)
        wanted: dict[str, dict[int, int]] = {}
        for number, (token, place) in found.items():
            wanted.setdefault(token, {})[place] = number
        try:
            for entry, _ in jobs:
                if entry.token in wanted:
                    self._adopt(entry, wanted[entry.token])
        except BaseException:
            self._claims.give_back(found.values())
            raise
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
                self._submission.find(part, may_submit=self._again is None)
        except Exception as error:  # noqa: BLE001  # it is the circuits' that were in the job
            self._fail(part, error)
        else:
            self._open.append(part)

    def _all_programs(self, entry: JobEntry, wanted: Mapping[int, int]) -> Sequence[Program]:
        if len(wanted) == entry.programs:
            return [self._programs[wanted[place]] for place in range(entry.programs)]
        return self._programs_of(entry) or [
            self._programs[wanted[place]] if place in wanted else UNWANTED
            for place in range(entry.programs)
        ]

    # -- new jobs ------------------------------------------------------------------------------

    def _start_more(self) -> None:
        """Submit what waits, as far as the provider takes it."""
        if self._waiting and self._contact.late:
            no_room = self._room.lacking if not self.parts else None
            self._refuse(no_room or self._timed_out())
        while self._waiting:
            number, numbers = self._waiting[0]
            part = self._new_part(numbers)
            try:
                if not self._intended(part, number):
                    return  # too many jobs wait already
                self.parts.append(part)
                self._submission.submit(part)
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
        self._claims.take(part.places)  # before another thread sees the job in the journal
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
            estimate=estimated(self._provider, part.programs),
            prices=self._terms.prices,
        )
        answer = self._journal.intend(intent, budget.allowances(self._terms.budgets), limit)
        if answer is not None:
            self._claims.give_back(part.places)
        if isinstance(answer, Shortfall):
            raise budget.exceeded(self._terms.executor, answer, self._terms.budgets)
        if answer is not None and not self._open:
            self._room.make(answer)
        return answer is None

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

    def _look(self) -> None:
        """See how jobs stand, and take what has come of them."""
        try:
            views = self._contact.look([part.name for part in self._open])
        except Exception as error:  # noqa: BLE001  # a provider's own
            if self._contact.late:
                self._give_up(self._open, self._timed_out())
            self._lose(error)
            return
        for part in tuple(self._open) if views is not None else ():
            view = (views or {}).get(part.name)
            if view is None:
                self._miss(part)
            else:
                self._take_note(part, view)
        self._leave_offline()
        if self._open and self._contact.late:
            self._give_up(self._open, self._timed_out())

    def _timed_out(self) -> CircuitTimedOut:
        limit = self._terms.time_limit or 0.0
        return CircuitTimedOut(executor=self._terms.executor, seconds=limit)

    def _miss(self, part: Part) -> None:
        """The provider does not know a job; some need a while to know one everywhere."""
        part.absent = part.absent or self._clock.now()
        if self._clock.now() - part.absent > KNOWN_AFTER:
            reason = f"{self._provider.name} knows no such job, as {self._account}"
            self._fail(part, JobLost(executor=self._terms.executor, job=part.name, reason=reason))

    def _take_note(self, part: Part, view: JobView) -> None:
        part.absent = None
        if view.state is JobState.RUNNING and part.running is None:
            part.running = self._clock.now()
        if not view.state.over:
            return
        if view.state is JobState.COMPLETED:
            self._fetch(part)
            return
        state = State(view.state)
        part.amounts = self._contact.used(part.name)
        self._journal.ended(part.token, state, part.amounts, view.error)
        reason = f"its job {part.name} {_ENDS[state]}: {view.error or 'the provider says no more'}"
        self._fail(part, _FAILURES[view.kind](executor=self._terms.executor, reason=reason))

    def _fetch(self, part: Part) -> None:
        began = self._clock.now()
        try:
            output = self._contact.turn().fetch(part.name, part.programs)
        except Exception as error:  # noqa: BLE001  # a provider's own
            part.unread = part.unread or began
            if self._contact.may_pass(error) and began - part.unread < self._terms.patience:
                return
            part.ended = True
            self._journal.ended(part.token, State.COMPLETED, None, error_text(error))
            self._fail(part, self._lost(part, error))
            return
        self._contact.answered()
        part.ended = True
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

    # -- what goes wrong -----------------------------------------------------------------------

    def _leave_offline(self) -> None:
        """Take what waits for a device that runs no jobs any more elsewhere."""
        now = self._clock.now()
        if not (self._terms.others and self._open) or now - self._asked < _ONLINE_EVERY:
            return
        self._asked = now
        try:
            if self._contact.turn().online():
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
                state = self._contact.turn().cancel(part.name)
            except Exception:  # noqa: BLE001  # nothing is confirmed
                state = JobState.QUEUED
            if state is JobState.CANCELLED:
                part.amounts = self._contact.used(part.name)
                self._journal.ended(part.token, State.CANCELLED, part.amounts, str(error))
                self._fail(part, error)
                continue
            if state.over:  # just now
                self._take_note(part, JobView(state=state))
            if part in self._open and not may_stay:
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
        """What has no result may be sought again by the next try.

        A program's own jobs whose results cannot be read are left: its next circuit is a new one.
        """
        for part in self.parts:
            if part.ended and self._context is None:
                continue
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
