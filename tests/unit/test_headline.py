"""The line that lists and tables show of an error."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from qcov.headline import headline


def plain() -> None:
    raise ValueError("one:\n  two\nthree")


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("other") from error


def noted() -> None:
    error = ValueError("a")
    error.add_note("with a note")
    raise error


def caught() -> ValueError:
    try:
        plain()
    except ValueError as error:
        return error
    raise AssertionError


def grouped() -> None:
    raise ExceptionGroup("many", [caught(), ExceptionGroup("more", [caught()])])


def after_a_group() -> None:
    try:
        grouped()
    except ExceptionGroup as error:
        raise ValueError("after") from error


def misspelt() -> None:
    compile("x y", "file.py", "exec")


def silent() -> None:
    raise KeyError


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        (plain, "ValueError: one:"),
        (caused, "KeyError: 'other'"),
        (noted, "ValueError: a"),
        (grouped, "ExceptionGroup: many (2 sub-exceptions)"),
        (after_a_group, "ValueError: after"),
        (misspelt, "SyntaxError: invalid syntax"),
        (silent, "KeyError"),
    ],
)
def test_of_a_traceback(fail: Callable[[], None], said: str) -> None:
    try:
        fail()
    except Exception:  # noqa: BLE001  # it is what is tested
        assert headline(traceback.format_exc()) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("energy(0): no\nmore of it", "energy(0): no"),
        ("The following electrons failed:\nenergy(0): no\nother(1): no", "energy(0): no"),
        (
            "Traceback (most recent call last):\n  File x\n...\n    f()\nValueError: a",
            "ValueError: a",
        ),
        ("\n  \n", ""),
        (
            "DispatchFailed: d is FAILED: The following electrons failed:\nf(0): no\ng(1): no",
            "DispatchFailed: d is FAILED: The following electrons failed: f(0): no",
        ),
        ("Traceback (most recent call last):\n| \n| boom", "boom"),
        (
            "Traceback (most recent call last):\n  File x\nE: The above exception was odd\nno",
            "E: The above exception was odd",
        ),
        ("Traceback (most recent call last):\n  File x, cut", "File x, cut"),
    ],
)
def test_of_other_texts(text: str, said: str) -> None:
    assert headline(text) == said
