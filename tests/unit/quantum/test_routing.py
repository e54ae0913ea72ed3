"""Retries, failover, breakers and time limits, with a clock of the tests' own."""

import asyncio
import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pennylane as qml
import pytest
from pydantic import PrivateAttr

from qcov.errors import (
    CircuitError,
    CircuitRejected,
    CircuitTimedOut,
    ExecutorOffline,
    QuotaExceeded,
    TransientFailure,
)
from qcov.policy import ErrorKind
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult
from qcov.quantum.cluster import QCluster
from qcov.quantum.recording import Caller
from qcov.quantum.router import Router
from qcov.quantum.tickets import Request, Ticket
from qcov.quantum.timing import SystemClock

CIRCUIT = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))])


class FakeClock:
    """Time that passes when a test says so, or, if it `hurries`, as soon as somebody waits."""

    def __init__(self, *, hurries: bool = True) -> None:
        self.time = 0.0
        self.waits: list[float] = []
        self._hurries = hurries
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self.time

    def start(self) -> None:
        pass

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        self.waits.append(seconds)
        call = (self.time + seconds, next(self._numbers), function)
        heapq.heappush(self._calls, call)
        if self._hurries:
            self.advance(seconds)
        return lambda: self._calls.remove(call) if call in self._calls else None

    def advance(self, seconds: float) -> None:
        self.time += seconds
        while self._calls and self._calls[0][0] <= self.time:
            heapq.heappop(self._calls)[2]()


class Scripted(BaseQExecutor):
    """Answers each batch with the next of its answers; with 1.0 when there are no more."""

    label: str = "scripted"
    _answers: deque[Any] = PrivateAttr(default_factory=deque)
    _sizes: list[int] = PrivateAttr(default_factory=list)

    def run_batch(self, batch: CircuitBatch) -> Any:
        self._sizes.append(len(batch.circuits))
        answer = self._answers.popleft() if self._answers else 1.0
        if callable(answer):
            answer = answer(batch)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, list) else [answer] * len(batch.circuits)

    @property
    def name(self) -> str:
        return self.label

    @property
    def sizes(self) -> list[int]:
        return self._sizes


def scripted(*answers: Any, **settings: Any) -> Scripted:
    executor = Scripted(**settings)
    executor._answers.extend(answers)
    return executor


def ask(executor: BaseQExecutor, circuits: int = 1) -> Request:
    return Request(
        circuits=(CIRCUIT,) * circuits,
        executor=executor,
        caller=Caller(qelectron="test", description=None),
        wires=1,
        mcm_method=None,
        postselect_mode=None,
    )


def attempts(request: Request) -> list[tuple[str, int, str | None]]:
    (run,) = request.caller.history
    record = run.to_record()
    assert all(type(one.kind) in (str, type(None)) for one in record.attempts)  # plain data
    assert [one.number for one in record.attempts] == list(range(1, len(record.attempts) + 1))
    return [(one.executor, one.number, one.kind) for one in record.attempts]


DOWN = ExecutorOffline(executor="scripted", reason="no answer")
BUSY = TransientFailure(executor="scripted", reason="try again")


def router(clock: FakeClock | None = None) -> Router:
    return Router(clock or FakeClock(), chance=lambda: 0.0)


# -- retries -----------------------------------------------------------------------------------


def test_a_transient_error_is_tried_again_after_longer_and_longer_waits() -> None:
    clock = FakeClock()
    request = ask(scripted(BUSY, ConnectionResetError(), BUSY, 0.5, retries=3, retry_delay=2))
    assert router(clock).run(request) == [0.5]
    assert clock.waits == [2.0, 4.0, 8.0]
    assert [kind for _, _, kind in attempts(request)] == ["transient"] * 3 + [None]


@pytest.mark.parametrize("error", [TransientFailure("later"), TransientFailure])
def test_an_executor_raises_errors_with_a_plain_message(error: Any) -> None:
    def fail(batch: CircuitBatch) -> Any:
        raise error

    executor = scripted(fail, 0.5, retries=1)
    assert router().run(ask(executor)) == [0.5]


@pytest.mark.parametrize(
    ("error", "tries"),
    [(BUSY, 3), (DOWN, 3), (ValueError("wrong"), 1), (QuotaExceeded(executor="e", reason="r"), 1)],
)
def test_the_last_error_is_raised_when_tries_are_used_up(error: Exception, tries: int) -> None:
    executor = scripted(*[error] * 9, retries=2)
    request = ask(executor)
    with pytest.raises(type(error)):
        router().run(request)
    assert len(executor.sizes) == len(attempts(request)) == tries


def test_only_what_failed_is_tried_again() -> None:
    executor = scripted([0.1, BUSY, 0.3, ValueError("its own")], retries=1)
    request = ask(executor, circuits=4)
    with pytest.raises(ValueError, match="its own"):
        router().run(request)
    assert executor.sizes == [4, 1]
    assert [len(run.to_record().attempts) for run in request.caller.history] == [1, 1, 1, 2]


def test_an_executor_may_class_errors_by_itself() -> None:
    class Knowing(Scripted):
        def classify(self, error: BaseException) -> ErrorKind:
            if "queue full" in str(error):
                return ErrorKind.TRANSIENT
            return super().classify(error)

    executor = Knowing(retries=1)
    executor._answers.extend([ValueError("queue full"), 0.5])
    assert router().run(ask(executor)) == [0.5]


def test_a_classifier_that_fails_does_not_hide_the_error() -> None:
    class Broken(Scripted):
        def classify(self, error: BaseException) -> ErrorKind:
            raise KeyError(error)

    executor = Broken(retries=1)
    executor._answers.append(BUSY)
    with pytest.raises(TransientFailure):
        router().run(ask(executor))


def test_a_failed_job_keeps_its_id() -> None:
    executor = scripted([CircuitResult(value=BUSY, job_id="job-7")], retries=1)
    request = ask(executor)
    router().run(request)
    record = request.caller.history[0].to_record()
    assert [one.job_id for one in record.attempts] == ["job-7", None]
    assert record.attempts[0].error == f"TransientFailure: {BUSY}"


# -- failover ----------------------------------------------------------------------------------


def test_an_executor_that_is_down_hands_over_to_the_next() -> None:
    first, second = scripted(DOWN, label="first"), scripted(0.5, label="second")
    request = ask(QCluster(executors=[first, second], selector="in-order"))
    assert router().run(request) == [0.5]
    assert attempts(request) == [("first", 1, "offline"), ("second", 2, None)]
    assert request.caller.history[0].to_record().error is None


def test_failover_goes_through_nested_clusters_and_ends() -> None:
    leaves = [scripted(DOWN, DOWN, label=label) for label in "abc"]
    inner = QCluster(executors=leaves[1:], selector="in-order")
    request = ask(QCluster(executors=[leaves[0], inner], selector="in-order"))
    with pytest.raises(ExecutorOffline):
        router().run(request)
    assert [name for name, _, _ in attempts(request)] == ["a", "b", "c"]


def test_retries_come_before_failover_and_each_executor_has_its_own() -> None:
    first = scripted(BUSY, BUSY, label="first", retries=1)
    second = scripted(BUSY, 0.5, label="second", retries=1)
    request = ask(QCluster(executors=[first, second], selector="in-order"))
    assert router().run(request) == [0.5]
    assert [name for name, _, _ in attempts(request)] == ["first"] * 2 + ["second"] * 2


def test_a_permanent_error_goes_nowhere_else() -> None:
    first, second = scripted(CircuitRejected(executor="first", reason="no")), scripted()
    with pytest.raises(CircuitRejected):
        router().run(ask(QCluster(executors=[first, second], selector="in-order")))
    assert second.sizes == []


def test_only_the_failed_part_of_a_batch_moves_and_order_is_kept() -> None:
    first = scripted([0.0, DOWN, 2.0, DOWN], label="first")
    second = scripted([1.0, 3.0], label="second")
    request = ask(QCluster(executors=[first, second], selector="in-order"), circuits=4)
    assert router().run(request) == [0.0, 1.0, 2.0, 3.0]
    assert (first.sizes, second.sizes) == ([4], [2])


def test_the_other_executors_shots_apply_after_failover() -> None:
    seen: list[Any] = []

    def look(batch: CircuitBatch) -> float:
        seen.append(batch.circuits[0].shots.total_shots)
        return 0.5

    first = scripted(lambda batch: look(batch) and DOWN, shots=10)
    second = scripted(look)
    router().run(ask(QCluster(executors=[first, second], selector="in-order")))
    assert seen == [10, None]


def test_a_selector_that_insists_gets_the_error() -> None:
    first, second = scripted(DOWN), scripted()
    cluster = QCluster(executors=[first, second], selector=lambda circuit, executors: first)
    with pytest.raises(ExecutorOffline):
        router().run(ask(cluster))


# -- the circuit breaker -----------------------------------------------------------------------


def test_an_executor_that_fails_in_a_row_is_left_alone_for_a_while() -> None:
    clock = FakeClock()
    executor = scripted(DOWN, DOWN, 0.5, break_after=2, break_pause=10)
    route = router(clock)
    for _ in range(2):
        with pytest.raises(ExecutorOffline, match="no answer"):
            route.run(ask(executor))
    clock.advance(4)
    refused = ask(executor)
    with pytest.raises(ExecutorOffline, match=r"failed 2 times in a row .* for another 6\.0 s"):
        route.run(refused)
    assert attempts(refused) == [("scripted", 1, "offline")]
    assert len(executor.sizes) == 2

    clock.advance(6)
    assert route.run(ask(executor)) == [0.5]
    assert route.run(ask(executor)) == [1.0]
    assert executor.in_flight == 0


def test_a_failed_trial_opens_the_breaker_again() -> None:
    clock = FakeClock()
    executor = scripted(DOWN, DOWN, break_after=1, break_pause=10)
    route = router(clock)
    for moment in (0, 10):
        clock.time = moment
        with pytest.raises(ExecutorOffline, match="no answer"):
            route.run(ask(executor))
    clock.time = 15
    with pytest.raises(ExecutorOffline, match="for another 5"):
        route.run(ask(executor))


def test_a_breaker_steers_the_selector() -> None:
    clock = FakeClock()
    first, second = scripted(DOWN, break_after=1, break_pause=10), scripted()
    cluster = QCluster(executors=[first, second], selector="in-order")
    route = router(clock)
    for _ in range(3):
        route.run(ask(cluster))
    assert (len(first.sizes), len(second.sizes)) == (1, 3)
    clock.advance(10)
    route.run(ask(cluster))
    assert (len(first.sizes), len(second.sizes)) == (2, 3)


def test_retries_wait_for_a_breaker_that_opened_meanwhile() -> None:
    clock = FakeClock()
    executor = scripted(DOWN, DOWN, 0.5, retries=5, retry_delay=1, break_after=2, break_pause=10)
    assert router(clock).run(ask(executor)) == [0.5]
    assert clock.waits == [1.0, 2.0, 8.0]


def test_a_future_is_told_that_no_executor_is_left() -> None:
    executor = scripted(DOWN, break_after=1)
    route = router()
    with pytest.raises(ExecutorOffline):
        route.run(ask(executor))
    told = threading.Event()
    ticket = route.submit(ask(executor), begin=lambda: True, done=lambda ticket: told.set())
    assert told.wait(30)
    with pytest.raises(ExecutorOffline, match=r"left alone .* \(last error: ExecutorOffline: "):
        ticket.results()


# -- time limits -------------------------------------------------------------------------------


@pytest.fixture
def stuck() -> Any:
    """A batch that does not come back before the test ends."""
    release = threading.Event()
    yield lambda batch: release.wait(60) and 9.0
    release.set()


def test_a_synchronous_call_ends_with_its_time_limit(stuck: Any) -> None:
    executor = scripted(stuck, 0.5, time_limit=3)
    clock = FakeClock()  # in a hurry: the limit has passed as soon as the batch runs
    route = router(clock)
    request = ask(executor)
    with pytest.raises(CircuitTimedOut, match="time limit of 3 s"):
        route.run(request)
    assert clock.waits == [3.0]
    assert attempts(request) == [("scripted", 1, "offline")]


def test_an_abandoned_batch_does_not_block_its_lane(stuck: Any) -> None:
    executor = scripted(stuck, 0.5, time_limit=3)
    clock = FakeClock(hurries=False)
    route = router(clock)
    first = route.submit(ask(executor), begin=lambda: True, done=lambda ticket: None)
    wait_for(lambda: executor.sizes == [1])
    clock.advance(3)
    with pytest.raises(TimeoutError):
        first.wait()
    assert route.run(ask(executor)) == [0.5]
    assert executor.in_flight == 0


def test_what_was_late_goes_to_the_next_executor(stuck: Any) -> None:
    first, second = scripted(stuck, time_limit=3), scripted(0.5)
    request = ask(QCluster(executors=[first, second], selector="in-order"))
    assert router().run(request) == [0.5]
    assert [kind for _, _, kind in attempts(request)] == ["offline", None]


def test_the_answer_of_an_abandoned_batch_is_dropped() -> None:
    release = threading.Event()
    executor = scripted(lambda batch: release.wait(30) and 9.0, time_limit=3, retries=1)
    request = ask(executor)
    clock = FakeClock(hurries=False)
    route = router(clock)
    ticket = route.submit(request, begin=lambda: True, done=lambda ticket: None)
    wait_for(lambda: executor.sizes == [1])
    clock.advance(3)
    wait_for(lambda: 1.0 in clock.waits)  # the retry
    release.set()
    clock.advance(1)
    wait_for(lambda: executor.sizes == [1, 1])
    assert ticket.wait() == [1.0]
    assert len(request.caller.history) == 1


def test_a_batch_in_time_is_not_timed_out() -> None:
    clock = FakeClock(hurries=False)
    executor = scripted(0.5, time_limit=3)
    assert router(clock).run(ask(executor)) == [0.5]
    assert clock.waits == [3.0]
    assert clock._calls == []


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another thread; a condition that never comes fails the test."""
    for _ in range(30_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never happened")


# -- several batches at once -------------------------------------------------------------------


def test_circuits_that_come_together_are_cut_into_batches_that_run_at_once() -> None:
    together = threading.Barrier(2, timeout=30)
    answers = [lambda batch: together.wait() * 0 + 0.5] * 4
    executor = scripted(*answers, max_batch=1, max_jobs=2)
    request = ask(executor, 4)
    assert router().run(request) == [0.5] * 4
    assert executor.sizes == [1] * 4


def test_the_last_error_tells_of_the_others() -> None:
    down, busy = scripted(DOWN, label="first"), scripted(BUSY, label="second")
    with pytest.raises(TransientFailure) as raised:
        router().run(ask(QCluster(executors=[down, busy])))
    whose, before = raised.value.__notes__
    assert whose == "The circuit was given to second."
    assert before.startswith("Before that, first: ExecutorOffline: ")


def test_errors_of_others_tell_where_the_circuit_ran() -> None:
    executor = scripted(ZeroDivisionError("no"), label="third")
    with pytest.raises(ZeroDivisionError) as raised:
        router().run(ask(executor, 2))
    assert raised.value.__notes__ == ["The circuit was given to third."]


def test_the_end_waits_for_what_is_to_be_tried_again() -> None:
    """As an interpreter's end does: the circuit is in no lane meanwhile."""
    clock = SystemClock()
    route = Router(clock, chance=lambda: 0.0)
    executor = scripted(BUSY, retries=1, retry_delay=0.01)
    told: list[Ticket] = []
    route.submit(ask(executor), begin=lambda: True, done=told.append)
    route.finish()
    assert told[0].results() == [1.0]


def test_max_jobs_batches_run_at_once() -> None:
    together = threading.Barrier(2, timeout=30)
    executor = scripted(*[lambda batch: together.wait() * 0 + 0.5] * 2, max_jobs=2)
    route = router()
    values: list[Any] = []
    threads = [
        threading.Thread(target=lambda: values.append(route.run(ask(executor)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert values == [[0.5]] * 2


# -- what run_batch must not do ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda batch: [], "0 results for 1 circuits"),
        (lambda batch: [1.0, 2.0], "2 results for 1 circuits"),
        (lambda batch: [None], "gave None for it"),
        (lambda batch: [CircuitResult(value=None)], "gave None for it"),
        (lambda batch: ["x"], "gave 'x', which is no result, for it"),
        (lambda batch: [b"x"], "gave b'x', which is no result, for it"),
        (lambda batch: [ValueError], "which is no result, for it"),
        (lambda batch: [object()], "which is no result, for it"),
        (lambda batch: [CircuitResult(value=object())], "which is no result, for it"),
        (lambda batch: [CircuitResult(value="x")], "gave 'x', which is no result, for it"),
        (SystemExit(1), "raised SystemExit: 1"),
        (asyncio.CancelledError(), "raised CancelledError"),
        (lambda batch: [GeneratorExit()], "raised GeneratorExit"),
    ],
)
def test_a_wrong_answer_is_a_clear_error(answer: Any, said: str) -> None:
    with pytest.raises(CircuitError, match=said):
        router().run(ask(scripted(answer)))


class Careless(BaseQExecutor):
    answer: Any = None

    def run_batch(self, batch: CircuitBatch) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "NoneType, not a list"),
        ("x", "str, not a list"),
        ({0: 1.0}, "dict, not a list"),
        (0.5, "float, not a list"),
        ({0.5}, "set, not a list"),
        ((value for value in (0.5,)), "generator, not a list"),
    ],
)
def test_only_a_list_of_results_is_one(answer: Any, said: str) -> None:
    with pytest.raises(CircuitError, match=f"Careless could not .* run_batch gave {said}"):
        router().run(ask(Careless(answer=answer)))


# -- interrupts --------------------------------------------------------------------------------


def test_ctrl_c_reaches_the_caller_and_leaves_the_lane_as_it_was() -> None:
    executor = scripted(KeyboardInterrupt())
    route = router()
    with pytest.raises(KeyboardInterrupt):
        route.run(ask(executor))
    assert executor.in_flight == 0
    assert route.run(ask(executor)) == [1.0]


def test_ctrl_c_takes_back_what_waits_on_other_executors() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(batch: CircuitBatch) -> float:
        entered.set()
        gate.wait(30)
        return 0.5

    first, second = scripted(hold), scripted(KeyboardInterrupt())
    route = router()
    held = route.submit(ask(first), begin=lambda: True, done=lambda ticket: None)
    assert entered.wait(30)
    with pytest.raises(KeyboardInterrupt):
        route.run(ask(QCluster(executors=[first, second]), circuits=2))
    gate.set()
    assert held.wait() == [0.5]
    wait_for(lambda: not route._fleet.lane(first).busy)
    assert first.sizes == [1]
    assert (first.in_flight, second.in_flight) == (0, 0)


@pytest.mark.parametrize(
    "setting",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"time_limit": 0},
        {"time_limit": "1"},
        {"time_limit": float("nan")},
        {"retry_delay": -1},
        {"retry_delay": None},
        {"max_jobs": 0},
        {"break_after": True},
        {"break_pause": float("inf")},
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=f"Scripted: {name} must be a"):
        Scripted(**setting)
