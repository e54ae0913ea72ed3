"""Tracebacks as people want to read them: their own frames, with those of qcov folded away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import qcov

_FRAME = re.compile(r'\s+(?:[|+ ]\s*)?File "(?P<file>[^"]*)", line \d+')
_INSIDE = "    "  # how the lines begin that belong to a frame
_OURS = (f"{Path(qcov.__file__).parent}/", "/site-packages/qcov/", "\\site-packages\\qcov\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Lines of a traceback that belong together.

    Args:
        text: The lines.
        folded: How many frames of qcov they are; 0 for what is shown.
    """

    text: str
    folded: int = 0


def pieces(error: str) -> list[Piece]:
    r"""An error in pieces, those with frames of qcov apart.

    >>> [piece.text for piece in pieces("Traceback:\nKeyError")]
    ['Traceback:\nKeyError']
    """
    found: list[Piece] = []
    for lines, ours in _blocks(error.strip("\n").splitlines()):
        text = "\n".join(lines)
        last = found[-1] if found else None
        if last is not None and bool(last.folded) == ours:
            found[-1] = Piece(text=f"{last.text}\n{text}", folded=last.folded + ours)
        else:
            found.append(Piece(text=text, folded=int(ours)))
    return found


def _blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Each frame with the lines that belong to it; every other line for itself."""
    at = 0
    while at < len(lines):
        frame = _FRAME.match(lines[at])
        end = at + 1
        while frame and end < len(lines) and _belongs(lines[end]):
            end += 1
        ours = frame is not None and any(place in frame["file"] for place in _OURS)
        yield lines[at:end], ours
        at = end


def _belongs(line: str) -> bool:
    return line.startswith(_INSIDE) and _FRAME.match(line) is None
