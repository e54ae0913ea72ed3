"""Calls that hang, and what errors of IBM's say, without a network."""

from __future__ import annotations

import gc
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from qcov.errors import CircuitRejected, ExecutorOffline, QuotaExceeded, TransientFailure
from qcov.policy import ErrorKind
from qcov.qexecutors.ibm_calls import Calls
from qcov.qexecutors.ibm_errors import as_ours, kind_of, was_sent
from tests.waiting import until


def test_calls_are_made_one_after_the_other_in_one_thread() -> None:
    calls = Calls()
    threads = {calls.ask(threading.get_ident, 5) for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_call_that_hangs_is_left_and_others_go_on() -> None:
    calls, released = Calls(), threading.Event()
    with pytest.raises(TimeoutError):
        calls.ask(released.wait, 0.05)
    assert calls.ask(lambda: 7, 5) == 7
    released.set()


def test_a_call_that_was_given_up_before_it_was_made_is_never_made() -> None:
    calls, released, made = Calls(), threading.Event(), list[str]()
    serves = calls.ask(threading.current_thread, 5)
    began = threading.Event()
    hangs = threading.Thread(target=lambda: calls.ask(lambda: began.set() or released.wait(), 60))
    hangs.start()
    assert began.wait(5)
    with pytest.raises(TransientFailure, match="an earlier request") as caught:
        calls.ask(lambda: made.append("POST /jobs"), 0.05)
    released.set()
    hangs.join(5)
    serves.join(5)  # it ends with all that waited for it
    assert not serves.is_alive()
    assert made == []
    assert was_sent(caught.value) is False


def test_an_error_comes_back_as_it_is() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    calls = Calls()
    with pytest.raises(TimeoutError, match="its own"):
        calls.ask(fail, 5)
    assert calls.ask(lambda: 7, 5) == 7


def test_its_thread_ends_with_it() -> None:
    calls = Calls()
    thread = calls.ask(threading.current_thread, 5)
    del calls
    gc.collect()
    until(lambda: not thread.is_alive(), 5)


# -- errors ------------------------------------------------------------------------------------


class Answered(Exception):
    """As errors of requests look: with what was asked, and what came."""

    def __init__(
        self, text: str, status: int | None, method: str = "POST", path: str = "/jobs"
    ) -> None:
        super().__init__(text)
        url = f"https://quantum.cloud.ibm.com/api/v1{path}"
        self.request = SimpleNamespace(method=method, url=url)
        self.response = None if status is None else SimpleNamespace(status_code=status)


def hidden(cause: Exception) -> Exception:
    """An error that was raised `from None`, as the SDK does."""
    try:
        try:
            raise cause
        except type(cause):
            raise RuntimeError(f"Failed to run program: {cause}") from None
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("busy", 429, ErrorKind.TRANSIENT),
        ("restarts", 502, ErrorKind.TRANSIENT),
        ("maintenance", 503, ErrorKind.OFFLINE),
        ("too many 500 error responses", None, ErrorKind.TRANSIENT),
        ("no. Error code: 3458.", 400, ErrorKind.QUOTA),
        ("no. Error code: 4317.", 400, ErrorKind.QUOTA),
        ("closed. Error code: 1217.", 400, ErrorKind.TRANSIENT),
        ("gone. Error code: 1004.", 400, ErrorKind.OFFLINE),
        ("wrong. Error code: 1002.", 400, ErrorKind.PERMANENT),
        ("who? Error code: 1217.", 401, ErrorKind.PERMANENT),
        ("no. Error code: 3458.", 403, ErrorKind.PERMANENT),
    ],
)
def test_the_kind_of_an_error_is_found_in_what_the_sdk_hides(
    text: str, status: int | None, kind: ErrorKind
) -> None:
    assert kind_of(hidden(Answered(text, status))) is kind


UNREADABLE = json.JSONDecodeError("no JSON", "{", 1)


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (hidden(Answered("no", 400)), False),
        (hidden(Answered("broken", None)), None),
        (hidden(Answered("broken", 502)), None),
        (hidden(Answered("broken", None, "GET", "/instances/usage")), False),
        (hidden(Answered("broken", None, "POST", "/sessions")), False),
        (TimeoutError(), None),
        (ValueError("the circuit does not fit"), False),
        (CircuitRejected("too large"), False),
        (UNREADABLE, None),
        (hidden(UNREADABLE), None),
        (KeyError("id"), None),
    ],
)
def test_whether_a_job_may_have_been_made(error: Exception, sent: bool | None) -> None:
    assert was_sent(error) is sent


def test_errors_become_qcovs_own_with_ibms_words() -> None:
    said = "400 Client Error for url: https://ibm.com/api/v1/jobs. Too many, Error code: 3458."
    ours: Any = as_ours(hidden(Answered(said, 400)), "QiskitExecutor")
    assert type(ours) is QuotaExceeded
    assert ours.reason == "IBM Quantum says: Too many (error code 3458)"
    assert isinstance(as_ours(ConnectionRefusedError(), "Q"), ExecutorOffline)
    own = CircuitRejected("no")
    assert as_ours(own, "Q") is own
