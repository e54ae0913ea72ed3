"""Whose line a warning is about."""

from __future__ import annotations

import sys

_OURS = ("qcov.", "pydantic.")


def frames_of_ours() -> int:
    """How far up the user's line is, seen from whoever calls this: for `stacklevel`."""
    frame, count = sys._getframe(1), 1  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(_OURS):
        frame, count = frame.f_back, count + 1
    return count
