"""Large payloads as files named by their content.

A file appears whole or not at all: it is written under another name, flushed to the disk together
with its folder, then renamed. Whoever commits a row that names a blob does so after that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from qcov import private_file
from qcov.errors import IntegrityError, StoreUnavailable

#: Payloads up to this many bytes live in the database, in the transaction that names them.
INLINE_LIMIT = 64 * 1024

_DIGEST = re.compile(r"[0-9a-f]{64}")


def path_of(folder: Path, digest: str) -> Path:
    """Where a blob's file is; refuses anything that is not a digest."""
    if not _DIGEST.fullmatch(digest):
        raise IntegrityError(blob=digest[:80], reason="that is not a digest")
    return folder / digest[:2] / digest


def write(folder: Path, digest: str, data: bytes) -> None:
    """Put a blob on disk; when this returns, it survives a crash of the machine."""
    target = path_of(folder, digest)
    try:
        if _holds(target, data):
            os.utime(target)  # it is needed again: `age` tells
        else:  # a damaged file is replaced
            _make_folder(folder)
            _make_folder(target.parent)
            private_file.write(target, data)
    except OSError as error:
        advice = "Free some space, or set QCOV_DATA_DIR to a folder that can be written."
        reason = error.strerror or str(error)
        raise StoreUnavailable(path=str(folder), reason=reason, advice=advice) from error


def age(folder: Path, digest: str) -> float | None:
    """When a blob's file was last written, in seconds since the epoch; None if it has none."""
    try:
        return path_of(folder, digest).stat().st_mtime
    except FileNotFoundError:
        return None


def _holds(target: Path, data: bytes) -> bool:
    try:
        return target.stat().st_size == len(data) and target.read_bytes() == data
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    """Make a private folder whose name, too, survives a crash of the machine."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        private_file.sync_folder(folder.parent)


def read(folder: Path, digest: str) -> bytes:
    """The bytes of a blob; the reader checks their digest."""
    try:
        return path_of(folder, digest).read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(blob=digest, reason="its file is gone") from error
