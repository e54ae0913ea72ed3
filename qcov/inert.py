"""Text from elsewhere, made safe to show.

Names, errors and output come from users' code. On a terminal an escape sequence in them moves the
cursor or changes the title, and characters that turn the writing direction make one text look like
another, on pages too.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)


def inert(text: str) -> str:
    r"""The text without escape sequences, and with `�` for characters that show nothing.

    Line ends and tabs stay.

    >>> inert("\x1b[31mred\x1b[0m\u202e")
    'red�'
    """
    return _UNSEEN.sub("\ufffd", _ESCAPES.sub("", text.replace("\r\n", "\n")))
