"""Large payloads, named by their content: as files in a folder, or as objects at a URL.

A payload appears whole or not at all. Whoever commits a row that names one does so after it was
written. Workers and the user's program read and write payloads themselves: none of them passes
through the engine.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from qcov import private_file
from qcov.errors import IntegrityError, StoreUnavailable

#: Payloads up to this many bytes live in the database, in the transaction that names them.
INLINE_LIMIT = 64 * 1024

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Payloads(Protocol):
    """Where large payloads are. Any thread may call it, and any process that was forked since."""

    location: str  #: the folder or the URL
    remote: bool  #: whether an answer takes longer than the engine's loop should wait

    def check(self) -> None:
        """Raise `StoreUnavailable` if nothing can be written there."""
        ...

    def write(self, digest: str, data: bytes) -> None:
        """Put a payload there; when this returns, it survives a crash of the machine."""
        ...

    def read(self, digest: str) -> bytes:
        """The bytes of a payload; the reader checks their digest."""
        ...

    def ages(self, digests: Iterable[str]) -> Mapping[str, float]:
        """When payloads were last written, in seconds since the epoch; not of missing ones."""
        ...

    def remove(self, digests: Iterable[str]) -> None:
        """Remove payloads; those that are gone already are none."""
        ...

    def passes(self, error: StoreUnavailable) -> bool:
        """True if what was refused may be taken later: the disk is full, the server is away."""
        ...


def open_payloads(location: str, *, variables: Mapping[str, str] | None = None) -> Payloads:
    """The payloads in a folder or at a URL of fsspec's.

    Args:
        location: The folder or the URL.
        variables: The environment variables to reach a URL with, if not the process's own.
    """
    if "://" not in location:
        return Folder(Path(location))
    from qcov.store.objects import Objects

    return Objects(location, variables=variables)


def variables_for(location: str) -> tuple[str, ...]:
    """How the environment variables begin by which payloads are reached: credentials, proxies."""
    if "://" not in location:
        return ()
    from qcov.store.objects import VARIABLES, VARIABLES_OF

    return (*VARIABLES, *VARIABLES_OF.get(location.partition("://")[0], ()))


def checked(digest: str) -> str:
    """The same; refuses what is no digest, before it becomes part of a name."""
    if not _DIGEST.fullmatch(digest):
        raise IntegrityError(blob=digest[:80], reason="that is not a digest")
    return digest


class Folder:
    """Payloads as files; see `Payloads`.

    A file is written under another name, flushed to the disk together with its folder, then
    renamed.

    Args:
        path: The folder; it is made when it is needed, and must be in one that exists.
    """

    remote = False

    def __init__(self, path: Path) -> None:
        self.location = str(path)
        self._folder = path

    def check(self) -> None:
        """Make the folder; that a disk is full is not refused, for the first file can wait."""
        try:
            _make_folder(self._folder)
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            if error.errno not in _FULL:
                raise self._refused(error) from error

    def _refused(self, error: OSError) -> StoreUnavailable:
        advice = (
            "Free some space, or set `workflow_data.base_dir` to a folder that can be written; "
            "without that setting, QCOV_DATA_DIR."
        )
        reason = error.strerror or str(error)
        return StoreUnavailable(path=self.location, reason=reason, advice=advice)

    def path_of(self, digest: str) -> Path:
        """Where a payload's file is; refuses anything that is not a digest."""
        return self._folder / checked(digest)[:2] / digest

    def write(self, digest: str, data: bytes) -> None:
        """Put a payload on disk."""
        target = self.path_of(digest)
        try:
            if _holds(target, data):
                os.utime(target)  # it is needed again: `ages` tells
            else:  # a damaged file is replaced
                _make_folder(self._folder)
                _make_folder(target.parent)
                private_file.write(target, data)
        except OSError as error:
            raise self._refused(error) from error

    def read(self, digest: str) -> bytes:
        """The bytes of a payload."""
        try:
            return self.path_of(digest).read_bytes()
        except FileNotFoundError as error:
            raise IntegrityError(blob=digest, reason="its file is gone") from error

    def ages(self, digests: Iterable[str]) -> Mapping[str, float]:
        """When their files were last written."""
        found: dict[str, float] = {}
        for digest in digests:
            try:
                found[digest] = self.path_of(digest).stat().st_mtime
            except FileNotFoundError:
                continue
        return found

    def remove(self, digests: Iterable[str]) -> None:
        """Remove their files."""
        for digest in digests:
            self.path_of(digest).unlink(missing_ok=True)

    def passes(self, error: StoreUnavailable) -> bool:
        """True if the disk is full."""
        return getattr(error.__cause__, "errno", None) in _FULL


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


def spill(manifest: dict[str, Any], write: Callable[[str, bytes], None]) -> dict[str, Any]:
    """Let a graph's large blobs be written; they need not travel with it then."""
    small: dict[str, bytes] = {}
    large: dict[str, int] = {}
    for digest, data in manifest["blobs"].items():
        if len(data) > INLINE_LIMIT:
            write(digest, data)
            large[digest] = len(data)
        else:
            small[digest] = data
    return {**manifest, "blobs": small, "spilled": {**manifest.get("spilled", {}), **large}}
