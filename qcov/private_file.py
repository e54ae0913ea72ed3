"""Files that only their owner reads, and that are never seen half written."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, mode 0600: all of it or, after an error or a crash, none of it.

    When this returns, the file and its name survive a crash of the machine.
    """
    with _draft(path, data) as draft:
        draft.replace(path)
    sync_folder(path.parent)


def make(path: Path, data: bytes) -> None:
    """The same, unless there is a file: of several that make one, the first has made it."""
    with _draft(path, data) as draft:
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            draft.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Generator[Path, None, None]:
    """A file with `data` beside `path`, on the disk; it is gone afterwards."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def touch(path: Path) -> BinaryIO:
    """Open a file, making it if need be; what is in it stays."""
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
