"""Submitting a job once, over a connection that may break at any point.

What the provider has refused was not submitted. What nobody has answered may have been: it is
sought by its token, submitted again only where the provider knows tokens again, and otherwise said
to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qcov.errors import StoreUnavailable, UnknownSubmission
from qcov.job_entries import State
from qcov.journal import Journal
from qcov.policy import ErrorKind
from qcov.qexecutors.job_terms import Clock, Part, Terms
from qcov.qexecutors.pace import Pace
from qcov.qexecutors.provider import JobView, Program, Provider
from qcov.records import error_text

_SHORTEST, _GROWTH = 0.02, 1.5  # seconds before the second look, and how waits grow
KNOWN_AFTER = 60.0  #: seconds that a provider may need until it knows a job that it has taken
_BUSY_FOR = 10.0  # seconds that a provider which refuses is asked for what it may have all the same
_STOPPED = "who asked for it was stopped before an answer came"
#: Stands for a program of a job that nobody wants, and whose circuit is not known.
UNWANTED = Program(payload=None, key="", shots=None)


class Contact:
    """A provider while one run of circuits lasts: how long it may be silent, when to ask again."""

    def __init__(
        self,
        provider: Provider,
        terms: Terms,
        classify: Callable[[BaseException], ErrorKind],
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        self.provider, self.terms, self.clock = provider, terms, clock
        self._pace = pace
        self._classify = classify
        self._started = self._answered = clock.now()
        self._pause = _SHORTEST

    def turn(self) -> Provider:
        """The provider, once it may be asked again."""
        if self._pace is not None:
            self._pace.wait()
        return self.provider

    @property
    def late(self) -> bool:
        """Whether the time limit has passed."""
        limit = self.terms.time_limit
        return limit is not None and self.clock.now() - self._started >= limit

    @property
    def patient(self) -> bool:
        """Whether it may be silent for longer."""
        return self.clock.now() - self._answered < self.terms.patience and not self.late

    def may_pass(self, error: BaseException) -> bool:
        """Whether it may answer if it is asked again."""
        return self._classify(error) is not ErrorKind.PERMANENT

    def is_offline(self, error: BaseException) -> bool:
        """Whether nobody answers there."""
        return self._classify(error) is ErrorKind.OFFLINE

    def answered(self) -> None:
        """It has answered."""
        self._answered = self.clock.now()

    def rest(self) -> None:
        """Wait before it is asked again, each time longer."""
        self.clock.sleep(self._pause)
        self._pause = min(self._pause * _GROWTH, self.terms.longest_pause)

    def look(self, job_ids: Sequence[str]) -> Mapping[str, JobView] | None:
        """How jobs stand; None if there is no answer now. Raises if there will be none."""
        if not job_ids:
            return {}
        try:
            views = self.turn().look(job_ids)
        except Exception as error:
            if self.may_pass(error) and self.patient:
                return None
            raise
        self.answered()
        return views

    def used(self, job_id: str) -> Mapping[str, float] | None:
        """What a job that did not complete has used; None if that is not known."""
        try:
            return self.turn().used(job_id)
        except Exception:  # noqa: BLE001  # then the estimate counts
            return None


class Submission:
    """Brings jobs whose intent is in the journal to the provider."""

    def __init__(self, contact: Contact, journal: Journal) -> None:
        self._contact, self._journal = contact, journal
        self._provider, self._terms = contact.provider, contact.terms

    def submit(self, part: Part) -> None:
        """Submit a job, and write down its id.

        Raises:
            UnknownSubmission: Nobody can tell whether it was submitted.
            Exception: The provider has refused it, in its own words.
        """
        while part.job_id is None:
            try:
                part.job_id = self._contact.turn().submit(part.programs, part.token)
            except Exception as error:  # noqa: BLE001  # a provider's own
                part.job_id = self._after(part, error)
        try:
            self._journal.submitted(part.token, part.job_id)
        except StoreUnavailable as error:
            error.add_note(f"Job {part.job_id} runs at {self._provider.name}, and is charged.")
            raise
        self._contact.answered()

    def find(self, part: Part, *, may_submit: bool) -> None:
        """Find the id of a job that was asked for by somebody who is gone, and write it down.

        Args:
            part: The job.
            may_submit: Whether it may be submitted again, where that makes no second one.

        Raises:
            UnknownSubmission: Nobody can tell whether it was submitted.
        """
        part.unsure = True
        part.job_id = self._sought(part)
        if part.job_id is not None:
            self._journal.submitted(part.token, part.job_id)
            return
        known = may_submit and all(program is not UNWANTED for program in part.programs)
        if not (known and (self._provider.idempotent or self._terms.resubmit_unknown)):
            raise self._unknown(part, _STOPPED)
        self.submit(part)

    def _after(self, part: Part, error: Exception) -> str | None:
        """The id of a job whose submission failed and that is there all the same.

        None if it may be submitted again; raises if not.
        """
        if self._provider.sent(error) is False:
            job_id = self._there_all_the_same(part, error)
            if job_id is not None:
                return job_id
            if not part.unsure:
                part.amounts = {}
                self._journal.ended(part.token, State.REFUSED, {}, error_text(error))
                raise error
        else:
            part.unsure = True
            job_id = self._sought(part)
            if job_id is not None:
                return job_id
        again = self._provider.idempotent and self._contact.may_pass(error)
        if again and self._contact.patient:
            self._contact.rest()
            return None
        raise self._unknown(part, error_text(error)) from error

    def _there_all_the_same(self, part: Part, error: Exception) -> str | None:
        """The id of a job that was refused and is there.

        A provider's SDK may have asked twice by itself: the first answer was lost, and the second
        time was refused. A provider that is busy is asked for a while.
        """
        until = self._contact.clock.now() + _BUSY_FOR
        while not self._contact.is_offline(error):
            try:
                return self._contact.turn().find(part.token)
            except Exception as again:  # noqa: BLE001  # a provider's own
                error = again
            if not self._contact.may_pass(error) or self._contact.clock.now() >= until:
                return None
            self._contact.rest()
        return None

    def _sought(self, part: Part) -> str | None:
        """Ask the provider for a job by its token."""
        while True:
            try:
                return self._contact.turn().find(part.token)
            except Exception as error:
                if not (self._contact.may_pass(error) and self._contact.patient):
                    raise self._unknown(part, error_text(error)) from error
            self._contact.rest()

    def _unknown(self, part: Part, reason: str) -> UnknownSubmission:
        self._journal.unknown(part.token, reason)
        return UnknownSubmission(executor=self._terms.executor, job=part.token, reason=reason)
