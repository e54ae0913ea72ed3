"""The data folder: who may use it, whose it is, and who writes to it."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
from pathlib import Path

from qcov import private_file
from qcov.errors import StoreUnavailable
from qcov.transport import address

_MOUNTS = Path("/proc/mounts")
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "lustre", "beegfs", "gpfs", "fuse.sshfs", "9p")


def prepare_folder(folder: Path, url: str = "") -> None:
    """Make the data folder, private to the user, and prove that it can be written.

    Args:
        folder: The data folder.
        url: Of the database, if that is not a file there.
    """
    advice = "Set QCOV_DATA_DIR to a folder of yours on a local disk."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".probe.{secrets.token_hex(4)}"
        with private_file.touch(probe) as file:
            probe.unlink()
            fcntl.flock(file, fcntl.LOCK_EX)  # some file servers know no locks
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailable(path=str(folder), reason=reason, advice=advice) from error
    if folder.stat().st_uid != os.getuid():
        raise StoreUnavailable(path=str(folder), reason="it belongs to another user", advice=advice)
    if not url and (kind := network_file_system(folder)):
        reason = f"it is on a network file system ({kind}), where SQLite's WAL mode loses data"
        advice = (
            f"{advice} Or have the database on a PostgreSQL server: set workflow_data.db_url, "
            "or QCOV_WORKFLOW_DATA_DB_URL."
        )
        raise StoreUnavailable(path=str(folder), reason=reason, advice=advice)


def network_file_system(folder: Path) -> str | None:
    """The kind of network file system that holds `folder`, None for a local one."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: nothing is known, so nothing is refused
        return None
    resolved = folder.resolve()
    kinds = {Path(fields[1]): fields[2] for fields in map(str.split, mounts) if len(fields) > 2}
    holders = [path for path in kinds if resolved.is_relative_to(path)]
    kind = kinds[max(holders, key=lambda path: len(path.parts))] if holders else ""
    return kind if kind.startswith(_NETWORK_FILE_SYSTEMS) else None


def installation_key(path: Path) -> bytes:
    """The key that seals this store's blobs; made once, readable by the user alone."""
    if not path.exists():
        private_file.make(path, secrets.token_bytes(32))
    return path.read_bytes()


def identity(folder: Path) -> str:
    """What tells the engines of a data folder from those of all others, of a copy of it too."""
    path = folder / "engine.id"
    if not path.exists():
        private_file.make(path, secrets.token_bytes(16))
    host = socket.gethostname()
    place = [path.read_bytes().hex(), host, str(folder.resolve())]
    return f"{host[:40]}-{address(repr(place).encode())[:16]}"


class Ownership:
    """The right to write to a data folder: one process has it at a time.

    The lock goes with the process, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = private_file.touch(folder / "engine.lock")

    def acquire(self, seconds: int) -> None:
        """Take it, waiting for another process that has it to end.

        Raises `StoreUnavailable` if that takes more than `seconds`. Call it in the main thread.
        """
        before = signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(seconds)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except TimeoutError as error:
            reason = f"process {self.owner} writes to it, and does not answer"
            advice = "Stop that process, then try again."
            raise StoreUnavailable(path=str(self._folder), reason=reason, advice=advice) from error
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        self._sign()

    def try_to_acquire(self) -> bool:
        """Take it if no other process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._sign()
        return True

    @property
    def owner(self) -> str:
        """The process that has it, or had it last."""
        self._file.seek(0)
        return self._file.read().decode(errors="replace") or "another process"

    def _sign(self) -> None:
        self._file.seek(0)
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())
        self._file.flush()

    def release(self) -> None:
        """Let another process have it."""
        self._file.close()


def _give_up(_number: int, _frame: object) -> None:
    raise TimeoutError
