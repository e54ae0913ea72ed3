"""What a worker has imported, and whether it was changed since."""

from __future__ import annotations

import sys
from pathlib import Path

from qcov.classical.files_read import FilesRead
from qcov.classical.installed import (
    OVERLAY,
    Owner,
    is_distributed,
    owner,
    part_of_site,
    site_folders,
)


class ImportedModules:
    """Notices that a module was changed after it was imported.

    A file of the user's can only be looked at once its module is there, and may have been written
    in between; see `qcov.classical.files_read`. Installed packages are too many files to be looked
    at. What installs them adds something to the folder that they are in, or takes it away: that
    folder stands for them, and is looked at before anything is imported from it.

    Args:
        files: Notes them; it may know of other files too.
    """

    def __init__(self, files: FilesRead) -> None:
        self._files = files
        self._seen: set[str] = set()
        self._distributed: dict[tuple[str, str], bool] = {}
        self._count = 0
        self.note_sites()

    def note_sites(self) -> None:
        """Remember how the folders stand that packages are installed into."""
        for folder in site_folders():
            if not (Path(folder) / OVERLAY).exists():
                self._files.note(folder)

    def note(self, began: int | None) -> None:
        """Remember how the files of newly imported modules stand.

        Args:
            began: When the first of them can have been read, in nanoseconds since the epoch; None
                where nothing is doubted.
        """
        if len(sys.modules) == self._count:
            return
        self._count = len(sys.modules)
        self.note_sites()  # something may have been installed before these were imported
        sites = site_folders()
        for module in list(sys.modules.values()):
            path = str(getattr(module, "__file__", None) or "")
            if path and path not in self._seen:
                self._seen.add(path)
                if self._is_the_users(path, sites):
                    self._files.note(path, began)

    def _is_the_users(self, path: str, sites: tuple[str, ...]) -> bool:
        found = owner(path, sites)
        if found is not Owner.SITE:
            return found is Owner.USER
        place = part_of_site(path, sites)
        if place not in self._distributed:
            self._distributed[place] = is_distributed(*place)
        return not self._distributed[place]

    def changed(self) -> bool:
        """True if something that was imported was changed since, or may have been."""
        return self._files.changed()

    def older_than(self, moment: int) -> bool:
        """True if what was imported is what was there at that moment, in nanoseconds."""
        return self._files.older_than(moment)
