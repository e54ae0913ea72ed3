"""Copies on one machine."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

from qcov.classical.files.file import File
from qcov.classical.files.landing import landing, make_folder
from qcov.classical.files.strategy import FileTransferStrategy, check_local, move


class Shutil(FileTransferStrategy):
    """Copies files and folders on one machine, with their times and permissions.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("hello")
    >>> Shutil().cp(str(folder / "a.txt"), str(folder / "b.txt"))()
    >>> (folder / "b.txt").read_text()
    'hello'
    """

    def cp(self, from_file: File | str, to_file: File | str | None = None) -> Callable[[], None]:
        """Copy a file or a folder.

        Raises:
            WrongSetting: one of them is remote.
        """
        made = move(_copy, from_file, to_file)
        check_local(made.source, made.destination, strategy=self)
        return made


def _copy(source: File, destination: File) -> None:
    path = Path(source.filepath)
    if not source.is_dir:
        check_no_folder(path)
        with landing(destination) as partial:
            shutil.copy2(path, partial)
            if destination.is_temporary:
                partial.chmod(0o600)
        return
    target = Path(destination.filepath)
    if target.resolve().is_relative_to(path.resolve()):
        raise OSError(errno.EINVAL, "a folder cannot be copied into itself")
    make_folder(destination)
    shutil.copytree(path, target, dirs_exist_ok=True, copy_function=_copy_whole)
    if destination.is_temporary:
        target.chmod(0o700)


def _copy_whole(source: str, destination: str) -> None:
    with landing(File(destination)) as partial:
        shutil.copy2(source, partial)


def check_no_folder(path: Path) -> None:
    """Refuse a folder where a file is meant. Raises `IsADirectoryError`."""
    if path.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "it is a folder: make it a Folder, or end its path with a slash"
        )
