"""What follows a failure: tables for what is decided, properties for what must always hold."""

import errno
import socket
from concurrent.futures import BrokenExecutor
from email.message import Message
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcov.errors import (
    CircuitError,
    CircuitRejected,
    CircuitTimedOut,
    ExecutorOffline,
    QuotaExceeded,
    TransientFailure,
)
from qcov.policy import (
    CLOSED,
    Breaker,
    BreakerPolicy,
    ErrorKind,
    FailOver,
    GiveUp,
    Retry,
    RetryPolicy,
    classify,
    next_step,
)

T, P, Q, O = ErrorKind.TRANSIENT, ErrorKind.PERMANENT, ErrorKind.QUOTA, ErrorKind.OFFLINE  # noqa: E741

STEPS: list[tuple[list[ErrorKind], int, bool, Any]] = [
    # failures here, retries, others, what follows
    ([T], 0, False, GiveUp()),
    ([T], 0, True, FailOver()),
    ([T], 1, True, Retry(1.0)),
    ([T, T], 1, True, FailOver()),
    ([T, T], 1, False, GiveUp()),
    ([T, T], 3, False, Retry(2.0)),
    ([O], 0, False, GiveUp()),
    ([O], 3, True, FailOver()),
    ([O], 3, False, Retry(1.0)),
    ([Q], 3, True, FailOver()),
    ([Q], 3, False, GiveUp()),
    ([P], 3, True, GiveUp()),
    ([T, P], 3, True, GiveUp()),
]


@pytest.mark.parametrize(("failures", "retries", "others", "step"), STEPS)
def test_the_step_after_a_failure(
    failures: list[ErrorKind], retries: int, others: bool, step: Any
) -> None:
    policy = RetryPolicy(retries=retries, delay=1.0, factor=2.0)
    assert next_step(failures, policy, others=others, chance=0.0) == step


@given(st.lists(st.sampled_from(ErrorKind), min_size=1), st.integers(0, 5), st.booleans())
def test_tries_end(failures: list[ErrorKind], retries: int, others: bool) -> None:
    step = next_step(failures, RetryPolicy(retries=retries), others=others, chance=0.5)
    if isinstance(step, Retry):
        assert len(failures) <= retries
    if isinstance(step, FailOver):
        assert others
    if failures[-1] is ErrorKind.PERMANENT:
        assert step == GiveUp()


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1e3), st.floats(0, 1e3))
def test_a_wait_has_bounds(number: int, chance: float, delay: float, longest: float) -> None:
    policy = RetryPolicy(retries=1, delay=delay, longest=longest)
    wait = policy.wait(number, chance)
    assert policy.wait(number, 0.0) / 2 <= wait <= longest
    assert wait <= policy.wait(number + 1, chance)


BREAKER = BreakerPolicy(failures=2, pause=10.0)


@pytest.mark.parametrize(
    ("answers", "until"),
    [
        ([T], None),
        ([T, O], 10.0),
        ([T, None, T], None),
        ([T, P, T], None),
        ([T, Q, T], 10.0),
        ([Q, Q, Q], None),
        ([T, T, T], 10.0),
        ([T, T, None], None),
    ],
)
def test_a_breaker_opens_after_failures_in_a_row(
    answers: list[ErrorKind | None], until: float | None
) -> None:
    breaker = CLOSED
    for answer in answers:
        breaker = breaker.after(answer, 0.0, BREAKER)
    assert breaker.until == until


def test_a_half_open_breaker_lets_one_try_through() -> None:
    breaker = Breaker(failures=2, until=10.0)
    assert not breaker.allows(9.9)
    assert breaker.wait(4.0) == 6.0
    assert breaker.allows(10.0)
    trying = breaker.begin(10.0, BREAKER)
    assert not trying.allows(10.0)
    assert trying.after(O, 12.0, BREAKER).until == 22.0
    assert trying.after(None, 12.0, BREAKER) == CLOSED
    assert trying.allows(20.0)  # should it never end


def test_a_breaker_may_be_left_out() -> None:
    breaker = CLOSED
    for _ in range(100):
        breaker = breaker.after(O, 0.0, BreakerPolicy(failures=0))
    assert breaker.allows(0.0)


class HttpError(Exception):
    def __init__(self, status: int) -> None:
        self.response = SimpleNamespace(status_code=status)


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class ReadTimeout(type("Timeout", (Exception,), {})):
    """As that of requests."""


def caused(error: Exception, by: Exception) -> Exception:
    try:
        raise error from by
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("wrong"), P),
        (CircuitError(executor="E", reason="r"), P),
        (CircuitRejected(executor="E", reason="r"), P),
        (TransientFailure(executor="E", reason="r"), T),
        (QuotaExceeded(executor="E", reason="r"), Q),
        (ExecutorOffline(executor="E", reason="r"), O),
        (CircuitTimedOut(executor="E", seconds=1), O),
        (ConnectionResetError(), T),
        (ConnectionRefusedError(), O),
        (socket.gaierror(), O),
        (OSError(errno.EHOSTUNREACH, "No route to host"), O),
        (FileNotFoundError(), P),
        (TimeoutError(), T),
        (BrokenExecutor(), T),
        (HttpError(429), T),
        (HttpError(402), Q),
        (HttpError(503), O),
        (HttpError(404), P),
        (ClientError(500), T),
        (ReadTimeout(), T),
        (HTTPError("u", 429, "too many", Message(), None), T),
        (HTTPError("u", 404, "not found", Message(), None), P),
        (URLError(ConnectionRefusedError()), O),
        (URLError("unknown url type"), P),
        (caused(ValueError("job failed"), ConnectionResetError()), T),
        (caused(CircuitRejected(executor="E", reason="r"), ConnectionResetError()), P),
        (KeyboardInterrupt(), P),
    ],
    ids=repr,
)
def test_errors_are_classed(error: BaseException, kind: ErrorKind) -> None:
    assert classify(error) is kind
