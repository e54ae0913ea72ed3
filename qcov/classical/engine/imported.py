"""What a worker has imported, and whether it was changed since."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


class ImportedModules:
    """Notices that a module of the user's was changed after it was imported."""

    def __init__(self) -> None:
        folders = {*sysconfig.get_paths().values(), str(Path(__file__).parents[2])}
        self._installed = tuple(f"{folder}{os.sep}" for folder in folders)
        self._written: dict[str, int] = {}
        self._count = 0

    def note(self) -> None:
        """Remember when the files of newly imported modules were written."""
        if len(sys.modules) == self._count:
            return
        self._count = len(sys.modules)
        for module in list(sys.modules.values()):
            path = str(getattr(module, "__file__", None) or "")
            if path and path not in self._written and not path.startswith(self._installed):
                self._written[path] = _modified(path)

    def changed(self) -> bool:
        """True if one of those files was written since."""
        return any(_modified(path) != written for path, written in self._written.items())


def _modified(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
