"""What a worker has imported, and whether it was changed since."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from qcov.classical.file_stamps import Stamp, latest_change, stamp


class ImportedModules:
    """Notices that a module of the user's was changed after it was imported.

    A file can only be looked at once its module is there, and may have been written in between. So
    what was written since an import can have begun is never believed to be what was imported.
    """

    def __init__(self) -> None:
        folders = {*sysconfig.get_paths().values(), str(Path(__file__).parents[2])}
        self._installed = tuple(f"{folder}{os.sep}" for folder in folders)
        self._stamps: dict[str, Stamp | None] = {}
        self._count = 0
        self._doubtful = False
        self._latest = 0

    def note(self, began: int) -> None:
        """Remember how the files of newly imported modules stand.

        Args:
            began: When the first of them can have been read, in nanoseconds since the epoch.
        """
        if len(sys.modules) == self._count:
            return
        self._count = len(sys.modules)
        for module in list(sys.modules.values()):
            path = str(getattr(module, "__file__", None) or "")
            if path and path not in self._stamps and not path.startswith(self._installed):
                self._note_file(path, began)

    def _note_file(self, path: str, began: int) -> None:
        found = self._stamps[path] = stamp(path)
        if found is not None:  # a module may be in an archive
            changed = latest_change(found)
            self._latest = max(self._latest, changed)
            self._doubtful = self._doubtful or changed >= began

    def changed(self) -> bool:
        """True if one of those files was written since, or may have been."""
        return self._doubtful or any(stamp(path) != found for path, found in self._stamps.items())

    def older_than(self, moment: int) -> bool:
        """True if what was imported is what stood in the files at that moment, in nanoseconds.

        Nothing is looked at again: a file that was written after its import counts as it was then.
        """
        return self._latest < moment
