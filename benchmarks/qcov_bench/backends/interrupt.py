"""Ctrl-C ends a comparison for sure, wherever it arrives."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from qcov_bench.backends.session import Tell


@contextmanager
def heeded(tell: Tell) -> Generator[Tell]:
    """What tells of steps, and ends everything at the next one if there was a Ctrl-C.

    Python raises `KeyboardInterrupt` in whatever runs at that moment. In a finaliser, or in a
    library that catches everything, it gets lost, and measuring would go on for hours.
    """
    asked = False

    def remember(signum: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.default_int_handler(signum, frame)

    def tell_or_end(about: str, done: int, steps: int) -> None:
        if asked:
            raise KeyboardInterrupt
        tell(about, done, steps)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # otherwise somebody wants something else of it
        signal.signal(signal.SIGINT, remember)
    try:
        yield tell_or_end
    finally:
        signal.signal(signal.SIGINT, before)
