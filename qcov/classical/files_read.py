"""Files that a process has read code from, and whether they were written since."""

from __future__ import annotations

import time
from dataclasses import dataclass

from qcov.classical.file_stamps import Stamp, latest_change, stamp


class FilesRead:
    """Notices that a file was written after code was read from it.

    What was written since the reading can have begun is never believed to be what was read.
    """

    def __init__(self) -> None:
        self._stamps: dict[str, Stamp | None] = {}
        self._doubtful = False
        self._latest = 0

    def note(self, path: str, began: int | None = None) -> None:
        """Remember how a file or a folder stands.

        The first time counts for whether it has changed: a process keeps modules and libraries as
        they were first. It may be read again all the same, so the latest time counts for its age.

        Args:
            path: Where it lies; it need not be there.
            began: When it can have been read first, in nanoseconds since the epoch; None if that
                is still to come.
        """
        found = stamp(path)
        self._stamps.setdefault(path, found)
        if found is not None:  # a module may be in an archive
            changed = latest_change(found)
            self._latest = max(self._latest, changed)
            self._doubtful = self._doubtful or (began is not None and changed >= began)

    def note_now(self, path: str) -> None:
        """Remember how a file stands that is about to be read."""
        self.note(path, time.time_ns())

    def changed(self) -> bool:
        """True if one of the files was written since, or may have been."""
        return self._doubtful or any(stamp(path) != found for path, found in self._stamps.items())

    def older_than(self, moment: int) -> bool:
        """True if what was read is what stood in the files at that moment, in nanoseconds.

        Nothing is looked at again: a file that was written after its reading counts as it was then.
        """
        return self._latest < moment


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A Python file that is no module; its key counts what it imports too."""

    path: str


#: Those of this process.
FILES_READ = FilesRead()
