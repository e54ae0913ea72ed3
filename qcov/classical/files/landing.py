"""Files that are there whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from qcov.classical.files.file import File


@contextmanager
def landing(file: File, name: str = "") -> Generator[Path, None, None]:
    """A neighbour to write to, which becomes the file when all went well, else vanishes.

    Args:
        file: The file; or the folder that it is in.
        name: Its path in the folder.
    """
    make_folder(file)
    path = Path(file.filepath, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    if file.is_temporary:
        partial.touch(mode=0o600)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def make_folder(file: File) -> None:
    """Make a folder, or the one that a file is in; a temporary one is nobody else's to read."""
    path = Path(file.filepath)
    folder = path if file.is_dir else path.parent
    folder.mkdir(mode=0o700 if file.is_temporary else 0o777, parents=True, exist_ok=True)
