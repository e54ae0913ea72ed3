"""The line of an error that says what happened."""

from __future__ import annotations

import re

#: How the error of a dispatch begins; a line for each electron follows.
FAILED = "The following electrons failed:"
#: What stands where the middle of an error was left out.
LEFT_OUT = "..."

#: Where a traceback begins, but for those within an exception group; the line may be left out.
_START = re.compile(
    r"(  \+ Exception Group )?Traceback \(most recent call last\):$"
    r"|The above exception was the direct cause of the following exception:$"
    r"|During handling of the above exception, another exception occurred:$"
)
_MARGIN = re.compile(r"^ *[|+]( |$)")  # what stands before each line of a group


def headline(text: str | None) -> str:
    r"""The first line of a message; of a traceback, the first of its last exception's message.

    Args:
        text: What was stored of an error, as the `traceback` module writes it, or of a dispatch. It
            may be anything: users' messages are in it.

    Returns:
        "" if there is nothing but blanks.

    Example:
        >>> traced = "Traceback (most recent call last):\n  File 'x', line 1, in f\n    f()\n"
        >>> headline(traced + "ValueError: step 3 failed:\n  see the manual\n")
        'ValueError: step 3 failed:'
        >>> headline(None)
        ''
    """
    lines = [line for line in (text or "").splitlines() if line.strip() and line != FAILED]
    starts = [number for number, line in enumerate(lines) if _START.match(line)]
    if not starts:
        more = 1 if lines and lines[0].endswith(FAILED) else 0  # of a sublattice: the line after
        return " ".join(line.strip() for line in lines[: 1 + more])
    rest = (_MARGIN.sub("", line) for line in lines[starts[-1] + 1 :])
    found = (line for line in rest if line[:2].strip() and line != LEFT_OUT)
    return next(found, lines[-1]).strip()


def has_traceback(text: str) -> bool:
    """Whether a traceback is part of it."""
    return any(map(_START.match, text.splitlines()))
