"""Programs become jobs once, whatever happens, and their results come back in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qcov import policy
from qcov.budget import Budget
from qcov.context import Context, running
from qcov.errors import (
    BudgetExceeded,
    CircuitError,
    CircuitTimedOut,
    ExecutorOffline,
    JobLost,
    QuotaExceeded,
    TransientFailure,
    UnknownSubmission,
)
from qcov.job_entries import Intent, JobEntry, State
from qcov.journal import Journal
from qcov.qexecutors.job_run import JobRun
from qcov.qexecutors.job_terms import Terms
from qcov.qexecutors.provider import JobState, Limits
from tests.unit.jobs.scripted import FakeClock, Killed, Scripted, raising, translation

Results = list[Any]


@pytest.fixture
def journal(data_folder: Any) -> Journal:
    return Journal()


@pytest.fixture
def electron() -> Callable[[], Any]:
    """What runs inside is one more try of the same electron."""

    def one_try() -> Any:
        return running(Context(dispatch_id="d", node_id=3, electron="e"))

    return one_try


def run(
    journal: Journal,
    provider: Scripted,
    *names: str,
    clock: FakeClock | None = None,
    again: JobEntry | None = None,
    programs_of: Callable[[JobEntry], Any] = lambda _entry: None,
    **terms: Any,
) -> Results:
    made = JobRun(
        provider,
        translation(*names),
        Terms(executor="Here", longest_pause=1.0, **terms),
        classify=policy.classify,
        journal=journal,
        keep=lambda _run, _parts: None,
        programs_of=programs_of,
        again=again,
        clock=clock or FakeClock(),
    )
    return made.results()


def states(journal: Journal) -> list[State]:
    return [entry.state for entry in reversed(journal.jobs())]


def texts(results: Sequence[Any]) -> list[str]:
    return [str(one) for one in results]


def test_a_batch_is_one_job(journal: Journal) -> None:
    provider = Scripted(looks=3)

    assert run(journal, provider, "a", "b") == ["a of job-0", "b of job-0"]
    assert provider.submitted == [["a", "b"]]
    assert states(journal) == [State.COMPLETED]
    assert (provider.opened, provider.closed) == (1, 1)


def test_batches_are_split_by_limits_and_merged_in_order(journal: Journal) -> None:
    provider = Scripted(limits=Limits(programs=2), looks=1)

    results = run(journal, provider, "a", "b", "c", "d", "e")

    assert provider.submitted == [["a", "b"], ["c", "d"], ["e"]]
    assert results == ["a of job-0", "b of job-0", "c of job-1", "d of job-1", "e of job-2"]
    assert (provider.opened, provider.closed) == (1, 1)


def test_the_intent_is_written_before_and_the_id_right_after(journal: Journal) -> None:
    seen: list[tuple[State, str | None]] = []

    def note() -> None:
        (entry,) = journal.jobs()
        seen.append((entry.state, entry.job_id))

    run(journal, Scripted(before=note, on_look=note), "a")

    assert seen == [(State.SUBMITTING, None), (State.SUBMITTED, "job-0")]


# -- after a crash -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["after", "on_look", "on_fetch"],
)
def test_a_killed_try_is_gone_on_with(journal: Journal, electron: Any, where: str) -> None:
    provider = Scripted(looks=1, **{where: raising(Killed())})
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a", "b")

    with electron():
        assert run(journal, provider, "a", "b") == ["a of job-0", "b of job-0"]

    assert provider.submitted == [["a", "b"]]
    assert states(journal) == [State.COMPLETED]


def test_killed_before_the_provider_heard_of_it_nothing_is_known(
    journal: Journal, electron: Any
) -> None:
    provider = Scripted(before=raising(Killed()))
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a")

    for _ in range(2):
        with electron():
            (error,) = run(journal, provider, "a")
        assert isinstance(error, UnknownSubmission)
        assert "UNKNOWN_SUBMISSION" in str(error)
        assert "qcov jobs resolve" in str(error)
    assert provider.submitted == []
    assert states(journal) == [State.UNKNOWN_SUBMISSION]


def test_what_is_said_never_to_have_been_submitted_is_submitted(
    journal: Journal, electron: Any
) -> None:
    provider = Scripted(before=raising(Killed()))
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a")
    (entry,) = journal.jobs()
    journal.ended(entry.token, State.REFUSED, {})

    with electron():
        assert run(journal, provider, "a") == ["a of job-0"]


def test_who_asks_for_it_may_have_it_submitted_again(journal: Journal, electron: Any) -> None:
    provider = Scripted(before=raising(Killed()))
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a")

    with electron():
        assert run(journal, provider, "a", resubmit_unknown=True) == ["a of job-0"]


def test_a_provider_that_knows_tokens_is_asked_again(journal: Journal, electron: Any) -> None:
    provider = Scripted(idempotent=True, knows_tags=False, after=raising(Killed()))
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a", "b")

    with electron():
        assert run(journal, provider, "a", "b") == ["a of job-0", "b of job-0"]
    assert provider.submitted == [["a", "b"]]


def test_the_next_try_may_ask_in_other_groups(journal: Journal, electron: Any) -> None:
    provider = Scripted(limits=Limits(programs=3))
    with electron():
        run(journal, provider, "a", "b", "c")

    with electron():
        first = run(journal, provider, "c", "x")
        second = run(journal, provider, "b", "a")

    assert first == ["c of job-0", "x of job-1"]
    assert second == ["b of job-0", "a of job-0"]


def test_equal_circuits_of_one_try_are_different_programs(journal: Journal, electron: Any) -> None:
    provider = Scripted()
    with electron():
        assert run(journal, provider, "a") == ["a of job-0"]
        assert run(journal, provider, "a") == ["a of job-1"]

    with electron():
        assert run(journal, provider, "a") == ["a of job-0"]
        assert run(journal, provider, "a") == ["a of job-1"]
        assert run(journal, provider, "a") == ["a of job-2"]


def test_other_electrons_have_other_jobs(journal: Journal, electron: Any) -> None:
    provider = Scripted()
    with electron():
        run(journal, provider, "a")
    with running(Context(dispatch_id="d", node_id=4, electron="e")):
        assert run(journal, provider, "a") == ["a of job-1"]
    assert run(journal, provider, "a") == ["a of job-2"]


@pytest.mark.parametrize("other", [{"device": "two"}, {"account": "you"}, {"name": "Other"}])
def test_other_devices_and_accounts_have_other_jobs(
    journal: Journal, electron: Any, other: dict[str, str]
) -> None:
    with electron():
        run(journal, Scripted(), "a")
    elsewhere = Scripted(**other)
    with electron():
        run(journal, elsewhere, "a")
    assert elsewhere.submitted == [["a"]]


def test_what_failed_is_not_gone_on_with(journal: Journal, electron: Any) -> None:
    provider = Scripted(fails=frozenset({"job-0"}))
    with electron():
        (error,) = run(journal, provider, "a")
    assert "it melted" in str(error)

    with electron():
        assert run(journal, provider, "a") == ["a of job-1"]
    assert states(journal) == [State.FAILED, State.COMPLETED]


def test_a_retry_within_one_try_finds_the_job(journal: Journal, electron: Any) -> None:
    provider = Scripted(looks=1, on_look=raising(None, PermissionError("expired")))
    with electron():
        (error,) = run(journal, provider, "a")
        assert isinstance(error, JobLost)
        assert run(journal, provider, "a") == ["a of job-0"]
    assert provider.submitted == [["a"]]


# -- providers that do not answer --------------------------------------------------------------


def test_a_provider_may_be_out_of_reach_for_a_while(journal: Journal) -> None:
    clock = FakeClock()
    provider = Scripted(on_look=raising(*[ConnectionResetError()] * 50))

    assert run(journal, provider, "a", clock=clock, patience=100.0) == ["a of job-0"]
    assert clock.time > 40


def test_patience_ends_and_the_job_stays_in_the_journal(journal: Journal) -> None:
    clock = FakeClock()
    provider = Scripted(on_look=raising(*[ConnectionResetError("gone")] * 500))

    (error,) = run(journal, provider, "a", clock=clock, patience=100.0)

    assert isinstance(error, JobLost)
    assert "qcov jobs attach job-0" in str(error)
    assert policy.classify(error) is policy.ErrorKind.PERMANENT  # nobody else may run it
    assert 100 <= clock.time < 110
    assert states(journal) == [State.SUBMITTED]


def test_an_answer_to_submit_that_was_lost_is_sought(journal: Journal) -> None:
    provider = Scripted(after=raising(ConnectionResetError()))

    assert run(journal, provider, "a") == ["a of job-0"]
    assert provider.requests[:2] == ["submit", "find"]
    assert provider.submitted == [["a"]]


def test_what_may_have_been_heard_is_not_submitted_again(journal: Journal) -> None:
    provider = Scripted(
        limits=Limits(programs=1), before=raising(TimeoutError("no answer")), knows_tags=False
    )

    first, second = run(journal, provider, "a", "b")

    assert isinstance(first, UnknownSubmission)
    assert isinstance(second, ExecutorOffline)
    assert provider.submitted == []
    assert states(journal) == [State.UNKNOWN_SUBMISSION]


def test_a_refusal_after_silence_proves_nothing(journal: Journal) -> None:
    """The first time may have been heard: what is refused now may be there already."""
    provider = Scripted(
        idempotent=True, knows_tags=False, before=raising(TimeoutError(), ValueError("no"))
    )

    (error,) = run(journal, provider, "a")

    assert isinstance(error, UnknownSubmission)
    assert states(journal) == [State.UNKNOWN_SUBMISSION]


def test_a_job_that_another_thread_submits_is_left_alone(journal: Journal) -> None:
    """The other one sees it in the journal before the provider has taken it."""
    inner: list[Results] = []

    def meanwhile() -> None:
        if not inner:
            inner.append([])
            inner[0] = run(journal, other, "a")

    other = Scripted()
    outer = run(journal, Scripted(before=meanwhile), "a")

    assert (inner, outer) == ([["a of job-0"]], ["a of job-0"])
    assert states(journal) == [State.COMPLETED, State.COMPLETED]


def test_a_refusal_is_raised_and_costs_nothing(journal: Journal) -> None:
    budget = Budget(usd=10)

    with pytest.raises(ValueError, match="no such gate"):
        run(journal, Scripted(before=raising(ValueError("no such gate"))), "a", budgets=[budget])

    assert states(journal) == [State.REFUSED]
    assert budget.left == {"USD": 10.0}


def test_after_a_refusal_the_results_of_the_rest_still_come(journal: Journal) -> None:
    provider = Scripted(
        limits=Limits(programs=1), before=raising(None, ConnectionRefusedError("down")), looks=1
    )

    first, second, third = run(journal, provider, "a", "b", "c")

    assert first == "a of job-0"
    assert isinstance(second, ConnectionRefusedError)
    assert isinstance(third, ConnectionRefusedError)


def test_results_that_cannot_be_read_at_first(journal: Journal) -> None:
    provider = Scripted(on_fetch=raising(ConnectionResetError(), TimeoutError()))
    assert run(journal, provider, "a") == ["a of job-0"]


def test_results_of_another_number_are_an_error_and_not_paid_twice(
    journal: Journal, electron: Any
) -> None:
    class Short(Scripted):
        def fetch(self, job_id: str, programs: Any) -> Any:
            output = super().fetch(job_id, programs)
            return type(output)(results=output.results[:-1])

    provider = Short()
    with electron():
        first, second = run(journal, provider, "a", "b")
        assert "1 results for 2 circuits" in str(first)
        assert first is second
        run(journal, provider, "a", "b")
    assert provider.submitted == [["a", "b"]]


def test_a_refusal_is_not_believed_where_the_job_is_there(journal: Journal) -> None:
    """An SDK has asked twice by itself: the first answer was lost, the second time was refused."""

    provider = Scripted(after=raising(ValueError("429 by the second try")))

    assert run(journal, provider, "a") == ["a of job-0"]
    assert provider.submitted == [["a"]]
    assert states(journal) == [State.COMPLETED]


def test_who_only_attaches_submits_nothing(journal: Journal, electron: Any) -> None:
    provider = Scripted(idempotent=True, before=raising(Killed()))
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a")
    (entry,) = journal.jobs()

    (error,) = run(journal, provider, "a", again=entry)

    assert isinstance(error, UnknownSubmission)
    assert provider.submitted == []


def test_a_job_that_is_not_known_now_and_then_is_waited_for(journal: Journal) -> None:
    class Forgetful(Scripted):
        def look(self, job_ids: Sequence[str]) -> Any:
            seen = super().look(job_ids)
            return {} if len(self.requests) % 40 in (3, 4) else seen

    assert run(journal, Forgetful(looks=300), "a", clock=FakeClock()) == ["a of job-0"]


def test_a_job_that_the_provider_does_not_know_is_lost(journal: Journal) -> None:
    class Ignorant(Scripted):
        def look(self, job_ids: Sequence[str]) -> Any:
            return {}

    clock = FakeClock()
    (error,) = run(journal, Ignorant(), "a", clock=clock)

    assert isinstance(error, JobLost)
    assert "knows no such job" in str(error)
    assert 60 < clock.time < 70


def test_results_that_cannot_be_read_are_not_the_next_circuit_s(journal: Journal) -> None:
    provider = Scripted(on_fetch=raising(PermissionError("garbled")))
    (error,) = run(journal, provider, "a")
    assert isinstance(error, JobLost)

    assert run(journal, provider, "a") == ["a of job-1"]


def test_too_many_shots_are_refused_before_anything_is_submitted(journal: Journal) -> None:
    provider = Scripted(limits=Limits(shots=9))
    results = run(journal, provider, "a")
    assert "one takes 9 shots, not 10" in str(results[0])
    assert provider.submitted == []


def test_what_completes_just_as_it_is_cancelled_is_taken(journal: Journal) -> None:
    class Late(Scripted):
        def cancel(self, job_id: str) -> Any:
            self.looks = 0
            return JobState.COMPLETED

    assert run(journal, Late(looks=1000), "a", time_limit=5.0) == ["a of job-0"]


@pytest.mark.parametrize("error", [PermissionError("revoked"), TimeoutError()])
def test_who_waits_for_room_is_told_when_nobody_answers(journal: Journal, error: Exception) -> None:
    _of_others(journal, "t")
    journal.submitted("t", "job-of-others")
    provider = Scripted(limits=Limits(pending=1), on_look=raising(*[error] * 5000))
    clock = FakeClock()

    with pytest.raises(type(error)):
        run(journal, provider, "a", clock=clock, patience=100.0)

    assert clock.time < 110


def test_a_job_of_others_that_may_not_be_seen_hides_no_other(journal: Journal) -> None:
    class Secretive(Scripted):
        def look(self, job_ids: Sequence[str]) -> Any:
            if "secret" in job_ids:
                raise PermissionError
            return super().look(job_ids)

    for token, name in (("t1", "secret"), ("t2", "job-of-others")):
        _of_others(journal, token)
        journal.submitted(token, name)

    assert run(journal, Secretive(limits=Limits(pending=2)), "a") == ["a of job-0"]


def test_programs_that_cannot_be_had_just_now_are_not_asked_for_again(
    journal: Journal, electron: Any
) -> None:
    provider = Scripted(on_look=raising(Killed()))
    with electron(), pytest.raises(Killed):
        run(journal, provider, "a", "b")
    asked = raising(TransientFailure("not now"))

    with electron():
        with pytest.raises(TransientFailure):
            run(journal, provider, "a", programs_of=lambda _entry: asked())
        assert run(journal, provider, "a", programs_of=lambda _entry: asked()) == ["a of job-0"]
    assert provider.submitted == [["a", "b"]]


def test_what_waits_at_the_time_limit_is_not_submitted(journal: Journal) -> None:
    provider = Scripted(limits=Limits(programs=1, pending=1), looks=1000)

    results = run(journal, provider, "a", "b", "c", time_limit=5.0)

    assert [type(one) for one in results] == [CircuitTimedOut] * 3
    assert provider.submitted == [["a"]]


def test_a_hiccup_at_the_time_limit_still_cancels(journal: Journal) -> None:
    clock = FakeClock()

    def look() -> None:
        if clock.time >= 5:
            raise TimeoutError

    (error,) = run(journal, Scripted(looks=1000, on_look=look), "a", clock=clock, time_limit=5.0)

    assert isinstance(error, CircuitTimedOut)
    assert states(journal) == [State.CANCELLED]


# -- time --------------------------------------------------------------------------------------


def test_at_the_time_limit_a_job_is_cancelled_and_may_run_elsewhere(journal: Journal) -> None:
    clock = FakeClock()

    (error,) = run(journal, Scripted(looks=1000), "a", clock=clock, time_limit=30.0)

    assert isinstance(error, CircuitTimedOut)
    assert policy.classify(error) is policy.ErrorKind.OFFLINE
    assert states(journal) == [State.CANCELLED]
    assert 30 <= clock.time < 32


def test_what_cannot_be_cancelled_must_not_run_elsewhere(journal: Journal) -> None:
    (error,) = run(journal, Scripted(looks=1000, confirms=False), "a", time_limit=30.0)

    assert isinstance(error, JobLost)
    assert policy.classify(error) is policy.ErrorKind.PERMANENT
    assert states(journal) == [State.SUBMITTED]


def test_a_device_that_went_offline_is_left_if_there_are_others(journal: Journal) -> None:
    (error,) = run(journal, Scripted(looks=1000, is_online=False), "a", others=True)

    assert isinstance(error, ExecutorOffline)
    assert "went offline" in str(error)
    assert states(journal) == [State.CANCELLED]


def test_without_others_its_queue_is_waited_in(journal: Journal) -> None:
    clock = FakeClock()
    provider = Scripted(looks=100, is_online=False)

    assert run(journal, provider, "a", clock=clock) == ["a of job-0"]
    assert clock.time > 60


# -- money and limits --------------------------------------------------------------------------


def test_a_job_is_charged_as_it_has_used(journal: Journal) -> None:
    budget = Budget(usd=10)
    reserved: list[float] = []
    provider = Scripted(on_look=lambda: reserved.append(budget.left["USD"]))

    run(journal, provider, "a", budgets=[budget])

    assert reserved == [9.0]
    assert budget.left == {"USD": 9.5}


def test_a_budget_is_not_exceeded(journal: Journal) -> None:
    budget = Budget(usd=2.2)
    provider = Scripted(limits=Limits(programs=1), looks=3)

    results = run(journal, provider, "a", "b", "c", budgets=[budget])

    assert results[:2] == ["a of job-0", "b of job-1"]
    assert isinstance(results[2], BudgetExceeded)
    assert "needs $1" in str(results[2])
    assert "only $0.2 is left" in str(results[2])
    assert policy.classify(results[2]) is policy.ErrorKind.QUOTA  # another device may be cheaper


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(shots=19), "needs 20 shots"),
        (Budget(tasks=0), "needs 1 task"),
        (Budget(qpu_seconds=100), "a number of QPU seconds that nobody can tell"),
    ],
)
def test_budgets_in_other_units(journal: Journal, budget: Budget, message: str) -> None:
    provider = Scripted()
    with pytest.raises(BudgetExceeded, match=message):
        run(journal, provider, "a", "b", budgets=[budget])
    assert provider.submitted == []


def test_what_has_no_price_is_not_paid_in_dollars(journal: Journal) -> None:
    with pytest.raises(BudgetExceeded, match="a number of USD that nobody can tell"):
        run(journal, Scripted(usd=None), "a", budgets=[Budget(usd=100)])


def test_of_budgets_with_one_name_the_least_holds(journal: Journal) -> None:
    budgets = [Budget(usd=0.5, name="thesis"), Budget(usd=100, name="thesis")]
    with pytest.raises(BudgetExceeded, match=r"Budget\(usd=0.5, name='thesis'\)"):
        run(journal, Scripted(), "a", budgets=budgets)
    units = [Budget(shots=5, name="both"), Budget(usd=100, name="both")]
    with pytest.raises(BudgetExceeded, match="10 shots"):
        run(journal, Scripted(), "a", budgets=units)


def test_units_that_a_provider_does_not_tell_of_count_as_estimated(journal: Journal) -> None:
    budget = Budget(shots=25, tasks=5)
    run(journal, Scripted(), "a", "b", budgets=[budget])
    assert budget.left == {"shots": 5.0, "tasks": 4.0}
    with pytest.raises(BudgetExceeded):
        run(journal, Scripted(), "c", budgets=[budget])


def test_all_budgets_are_drawn_on(journal: Journal) -> None:
    large, small = Budget(usd=10), Budget(usd=0.5)
    with pytest.raises(BudgetExceeded, match=r"Budget\(usd=0.5\)"):
        run(journal, Scripted(), "a", budgets=[large, small])
    assert large.left == {"USD": 10.0}


def _of_others(journal: Journal, token: str, device: str = "one") -> None:
    journal.intend(
        Intent(
            token=token, run="other", part=0, scope="other", dispatch_id=None, node_id=None,
            provider="Scripted", device=device, account="Scripted me", keys=["k"], shots=1,
            estimate={},
        ),
        {},
    )  # fmt: skip


def test_no_more_jobs_wait_than_the_provider_lets(journal: Journal) -> None:
    provider = Scripted(limits=Limits(programs=1, pending=2), looks=2)
    most: list[int] = []
    provider.on_look = lambda: most.append(len(journal.jobs(only_open=True)))

    results = run(journal, provider, *"abcde")

    assert texts(results) == [f"{name} of job-{at}" for at, name in enumerate("abcde")]
    assert max(most) == 2


def test_jobs_of_others_that_have_ended_make_room(journal: Journal) -> None:
    _of_others(journal, "t")
    journal.submitted("t", "job-of-others")
    provider = Scripted(limits=Limits(pending=1), looks=2)

    assert run(journal, provider, "a") == ["a of job-0"]
    assert states(journal) == [State.COMPLETED, State.COMPLETED]


def test_jobs_of_others_on_another_device_make_room_as_well(journal: Journal) -> None:
    _of_others(journal, "t", device="two")
    journal.submitted("t", "job-of-others")

    assert run(journal, Scripted(limits=Limits(pending=1), looks=2), "a") == ["a of job-0"]


def test_jobs_of_others_that_nobody_knows_any_more_take_no_room(journal: Journal) -> None:
    class Forgetful(Scripted):
        def look(self, job_ids: Sequence[str]) -> Any:
            return super().look([job for job in job_ids if job in self.jobs])

    _of_others(journal, "t")
    journal.submitted("t", "long gone")

    assert run(journal, Forgetful(limits=Limits(pending=1)), "a") == ["a of job-0"]
    assert states(journal) == [State.UNKNOWN_SUBMISSION, State.COMPLETED]


def test_jobs_of_others_that_stay_are_waited_for_until_the_time_limit(journal: Journal) -> None:
    _of_others(journal, "t")
    journal.submitted("t", "job-of-others")

    with pytest.raises(QuotaExceeded, match="1 of its jobs wait or run"):
        run(journal, Scripted(limits=Limits(pending=1), looks=1000), "a", time_limit=5.0)


def test_errors_of_jobs_say_what_happened(journal: Journal) -> None:
    (error,) = run(journal, Scripted(fails=frozenset({"job-0"})), "a")
    assert isinstance(error, CircuitError)
    assert str(error) == "Here could not run the circuit: its job job-0 failed: it melted"
