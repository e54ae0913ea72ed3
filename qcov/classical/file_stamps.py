"""Whether files and folders are as they were when they were read, without reading them again.

What the system says of a file changes with its content, but for a file that is written twice within
a tick of the file system's clock. So nothing is believed of what had been written just before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

Stamp = tuple[int, ...]

_TICK = 2_000_000_000  # nanoseconds: that of FAT, the coarsest
_FINE_TICK = 20_000_000  # where parts of seconds are told: Linux counts them in hundredths


def stamp(path: str) -> Stamp | None:
    """What changes when a file is written, or when something comes to a folder or leaves it.

    None if it is not there. The time of the last change (`ctime`) cannot be set back.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  # a string, and often
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def latest_change(found: Stamp) -> int:
    """The latest moment at which what has this stamp can have been changed, in nanoseconds."""
    changed = found[-1]
    return changed + (_TICK if changed % 1_000_000_000 == 0 else _FINE_TICK)


class Stamps:
    """The stamps of what is about to be read.

    Args:
        clock: The time of day in nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._settled_before = clock() - _TICK
        self._noted: dict[str, Stamp | None] = {}

    def note(self, path: str) -> Stamp | None:
        """Remember how a file or a folder stands; to be called before it is read."""
        found = self._noted[path] = stamp(path)
        return found

    @property
    def settled(self) -> bool:
        """False if some of it was written so lately that the next change might not show."""
        stamps = (found for found in self._noted.values() if found is not None)
        return all(max(found[-2:]) < self._settled_before for found in stamps)

    def hold(self, now: Stamps) -> bool:
        """True if all stands as it was noted; what `now` has noted is not asked again."""
        asked = now._noted
        return all(
            (asked[path] if path in asked else stamp(path)) == noted
            for path, noted in self._noted.items()
        )
