"""The line of an error that says what happened."""

from __future__ import annotations

import re

#: Where a traceback begins that is not one of those within an exception group.
_START = re.compile(r"(  \+ Exception Group )?Traceback \(most recent call last\):$")
_MARGIN = re.compile(r"^ *[|+] ")  # what stands before each line of a group


def headline(text: str | None) -> str:
    r"""The first line of a message; of a traceback, the first of its last exception's message.

    Args:
        text: What was stored of an error, as the `traceback` module writes it.

    Example:
        >>> traced = "Traceback (most recent call last):\n  File 'x', line 1, in f\n    f()\n"
        >>> headline(traced + "ValueError: step 3 failed:\n  see the manual\n")
        'ValueError: step 3 failed:'
        >>> headline(None)
        ''
    """
    lines = [line for line in (text or "").splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if _START.match(line)]
    if not starts:
        return lines[0].strip() if lines else ""
    rest = (_MARGIN.sub("", line) for line in lines[starts[-1] + 1 :])
    return next((line for line in rest if not line.startswith(" ")), lines[-1]).strip()
