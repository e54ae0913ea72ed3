from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcov.inert import inert


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
        ("a\r\nb", "a\nb"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "\N{REPLACEMENT CHARACTER}creset"),
        ("50%\r100%", "50%\N{REPLACEMENT CHARACTER}100%"),
        ("user\u202etxt.exe", "user\N{REPLACEMENT CHARACTER}txt.exe"),
        ("psi\u200b", "psi\N{REPLACEMENT CHARACTER}"),
        ("\u03c8 \u6f22 \u0645", "\u03c8 \u6f22 \u0645"),
    ],
)
def test_what_moves_the_cursor_is_gone(text: str, shown: str) -> None:
    assert inert(text) == shown


@given(st.text())
def test_nothing_live_is_left(text: str) -> None:
    shown = inert(text)

    assert not set(shown) & {"\x1b", "\x9b", "\x07", "\x08", "\r", "\u202e", "\u2066"}
    assert inert(shown) == shown
