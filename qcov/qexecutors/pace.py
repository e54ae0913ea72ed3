"""How often something is done, at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Lets callers go on one after the other, so many in a second, from whichever thread.

    Args:
        per_second: How many.
        now: What time it is, in seconds.
        sleep: Waits.

    Example:
        >>> waited = []
        >>> pace = Pace(4.0, now=lambda: 10.0, sleep=waited.append)
        >>> for _ in range(3):
        ...     pace.wait()
        >>> waited
        [0.25, 0.5]
    """

    def __init__(
        self,
        per_second: float,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pause, self._now, self._sleep = 1 / per_second, now, sleep
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self._now()
            turn = max(now, self._next)
            self._next = turn + self._pause
        if turn > now:
            self._sleep(turn - now)
