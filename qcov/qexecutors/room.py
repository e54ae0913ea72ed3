"""Room for one more job, where a provider lets an account have so many at a time.

The jobs that take it may be those of programs that are gone: nobody else asks how they stand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from qcov.errors import QuotaExceeded
from qcov.job_entries import JobEntry, State
from qcov.journal import Journal
from qcov.qexecutors.provider import JobView
from qcov.qexecutors.submission import KNOWN_AFTER, Contact

_log = logging.getLogger("qcov.jobs")


class Room:
    """Makes room among the open jobs of an account.

    Args:
        contact: The provider.
        journal: Where jobs are written down.
        account: As the journal knows it.
    """

    def __init__(self, contact: Contact, journal: Journal, account: str) -> None:
        self._contact, self._journal, self._account = contact, journal, account
        self._absent: dict[str, float] = {}  #: since when jobs are not known
        self._most = 0  #: jobs that had to be waited for

    def make(self, count: int) -> None:
        """See whether jobs of others, which one waits for, have ended.

        Args:
            count: How many jobs of the account are open.
        """
        entries = [
            one
            for one in self._journal.open_of_account(self._account)
            if one.job_id and one.state is State.SUBMITTED
        ]
        if self._most < count:
            self._most = count
            _log.warning("waiting for room: %s jobs of %s are open", count, self._account)
        views = self._views_of_others([entry.name for entry in entries])
        for entry in entries if views is not None else ():
            view = (views or {}).get(entry.name)
            if view is None:
                self._forget_later(entry)
            elif view.state.over:
                self._note_end(entry.token, entry.name, view)

    @property
    def lacking(self) -> QuotaExceeded | None:
        """The error for who has waited in vain; None if nobody had to wait."""
        if not self._most:
            return None
        reason = (
            f"{self._most} of its jobs wait or run, and it takes no more; `qcov jobs` lists them"
        )
        return QuotaExceeded(executor=self._contact.terms.executor, reason=reason)

    def _views_of_others(self, job_ids: Sequence[str]) -> Mapping[str, JobView] | None:
        """How jobs of others stand; None if the provider does not answer now.

        Where it does not tell of all, each is asked for: one that is not to be seen hides no other.
        Raises if it tells of none.
        """
        try:
            return self._contact.look(job_ids)
        except Exception as refused:
            views: dict[str, JobView] = {}
            for job_id in job_ids if len(job_ids) > 1 else ():
                try:
                    views.update(self._contact.look([job_id]) or {})
                except Exception as error:  # noqa: BLE001  # a provider's own
                    _log.debug("job %s cannot be looked at: %s", job_id, error)
            if not views:
                raise refused from None
            return views

    def _forget_later(self, entry: JobEntry) -> None:
        """A job that the provider does not know any more takes no room; what became of it?"""
        since = self._absent.setdefault(entry.token, self._contact.clock.now())
        if self._contact.clock.now() - since > KNOWN_AFTER:
            self._journal.unknown(
                entry.token, f"{self._contact.provider.name} knows no such job any more"
            )

    def _note_end(self, token: str, job_id: str, view: JobView) -> None:
        """Write down the end of a job whose results nobody here wants."""
        state = State(view.state)
        amounts = None if state is State.COMPLETED else self._contact.used(job_id)
        self._journal.ended(token, state, amounts, view.error)
