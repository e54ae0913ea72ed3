"""The context: who runs here."""

from __future__ import annotations

import contextvars
import threading

import pytest

from qcov.context import Context, get_context, running

OUTER = Context(dispatch_id="d", node_id=1, electron="outer")
INNER = Context(dispatch_id="d", node_id=2, electron="inner", cores=3)


def test_there_is_none_outside_an_electron() -> None:
    assert get_context() is None


def test_contexts_nest_and_are_restored() -> None:
    with running(OUTER):
        with running(INNER) as given:
            assert given is INNER
            assert get_context() is INNER
        assert get_context() is OUTER
    assert get_context() is None


def test_an_exception_restores_it_too() -> None:
    with pytest.raises(ZeroDivisionError), running(OUTER):
        raise ZeroDivisionError
    assert get_context() is None


def test_threads_that_an_electron_starts_see_it() -> None:
    seen: list[Context | None] = []
    with running(OUTER):
        thread = threading.Thread(target=lambda: seen.append(get_context()))
        thread.start()
        thread.join()
    assert seen == [OUTER]


def test_an_empty_copied_context_falls_back_to_the_process() -> None:
    empty = contextvars.Context()
    with running(OUTER):
        assert empty.run(get_context) is OUTER
    assert empty.run(get_context) is None


def test_a_context_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        OUTER.node_id = 7  # type: ignore[misc]
