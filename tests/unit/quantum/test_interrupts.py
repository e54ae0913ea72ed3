"""Ctrl-C at every single moment at which Python may raise it while circuits are handled."""

from __future__ import annotations

import dis
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pennylane as qml
import pytest

import qcov.quantum
from qcov.errors import CircuitError
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.quantum import interrupts
from qcov.quantum.recording import Caller
from qcov.quantum.router import Router
from qcov.quantum.tickets import Request, Ticket
from tests.waiting import until

CIRCUIT = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))])
WATCHED = str(Path(qcov.quantum.__file__).parent)
#: After these instructions the interpreter looks for signals.
LOOKS = ("RESUME", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")


@cache
def names(code: CodeType) -> dict[int, str]:
    return {one.offset: one.opname for one in dis.get_instructions(code)}


class Interrupting:
    """Sends SIGINT when the interpreter looks for signals for the `moment`th time."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        self._before: dict[FrameType, str] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "call":
            if not frame.f_code.co_filename.startswith(WATCHED):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            before = self._before.get(frame)
            self._before[frame] = names(frame.f_code)[frame.f_lasti]
            if before in LOOKS and self.left:
                self.left -= 1
                if not self.left:
                    signal.raise_signal(signal.SIGINT)
        return self


class Ones(BaseQExecutor):
    """Every circuit gives 1."""

    def run_batch(self, batch: CircuitBatch) -> list[float]:
        return [1.0] * len(batch.circuits)


def ask(executor: BaseQExecutor) -> Request:
    return Request(
        circuits=(CIRCUIT,) * 2,
        executor=executor,
        caller=Caller(qelectron="test", description=None),
        wires=1,
        mcm_method=None,
        postselect_mode=None,
    )


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(router: Router, executor: BaseQExecutor) -> None:
    assert router.run(ask(executor)) == [1.0, 1.0]


def check(ticket: Ticket) -> None:
    """It has its results, or was on its executor at the moment of the interrupt."""
    said = ""
    try:
        results = ticket.wait()
    except CircuitError as error:
        results, said = [1.0, 1.0], str(error)
    assert results == [1.0, 1.0]
    assert not said or "it was interrupted" in said


def run_beside_another(router: Router, executor: BaseQExecutor) -> None:
    ended = threading.Event()
    ticket = router.submit(ask(executor), begin=lambda: True, done=lambda ticket: ended.set())
    try:
        router.run(ask(executor))
    finally:
        sys.settrace(None)
        assert ended.wait(60)
        check(ticket)


def hurry(router: Router, executor: BaseQExecutor) -> None:
    done: list[Ticket] = []
    ticket = router.submit(ask(executor), begin=lambda: True, done=done.append)
    try:
        router.hurry(ticket)
    finally:
        sys.settrace(None)
        check(ticket)
        until(lambda: done == [ticket])


@pytest.mark.parametrize("call", [run, run_beside_another, hurry])
def test_whenever_ctrl_c_comes_the_books_balance(
    call: Callable[[Router, BaseQExecutor], None],
) -> None:
    executor, router, moment, raised = Ones(), Router(), 0, 0
    traced = sys.gettrace()
    while True:
        moment += 1
        interrupting = Interrupting(moment)
        sys._getframe().f_trace_opcodes = True  # or Python 3.12 ignores it in other frames
        sys.settrace(interrupting)
        try:
            call(router, executor)
        except KeyboardInterrupt:
            raised += 1
        finally:
            sys.settrace(traced)
        until(lambda: not router._fleet.busy)
        assert executor.in_flight == 0
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert router.run(ask(executor)) == [1.0, 1.0]
        if interrupting.left:  # the call has fewer moments
            break
    assert moment > 30
    assert raised == moment - 1


def test_what_the_program_does_with_ctrl_c_is_done_later() -> None:
    heard: list[str] = []
    signal.signal(signal.SIGINT, lambda *_: heard.append("own"))

    with interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        assert heard == []
    assert heard == ["own"]

    with interrupts.deferred(), interrupts.allowed():
        signal.raise_signal(signal.SIGINT)
        assert heard == ["own", "own"]
        with interrupts.deferred():  # a circuit of an executor's own
            signal.raise_signal(signal.SIGINT)
            assert heard == ["own", "own"]
        assert heard == ["own"] * 3


def test_a_second_ctrl_c_ends_what_hangs() -> None:
    with interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_one_that_waits_is_heard_where_it_is_allowed() -> None:
    with interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.allowed().__enter__()


def test_a_handler_that_is_set_meanwhile_stays() -> None:
    def mine(*_: object) -> None: ...

    with interrupts.deferred(), interrupts.allowed():
        signal.signal(signal.SIGINT, mine)
        with interrupts.deferred():
            pass
    assert signal.getsignal(signal.SIGINT) is mine


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_not_pythons_stays_as_it_is(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, handler)
    with interrupts.deferred():
        assert signal.getsignal(signal.SIGINT) is handler


def test_other_threads_defer_nothing() -> None:
    def work() -> None:
        with interrupts.deferred(), interrupts.allowed():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
