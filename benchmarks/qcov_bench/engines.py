"""Engines of the benchmark's own, so that the user's is neither read nor filled."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from qcov import private_file
from qcov.classical.engine import client

WORKERS = 2


@contextmanager
def own_engine() -> Iterator[Path]:
    """An engine on an empty data folder, which is given."""
    with tempfile.TemporaryDirectory(prefix="qcov-bench-") as name:
        ours = {"QCOV_DATA_DIR": name, "QCOV_ENGINE_WORKERS": str(WORKERS)}
        with mock.patch.dict(os.environ, ours):
            folder = Path(name)
            try:
                yield folder
            finally:
                client.call("stop")
                wait_until_gone(folder)


@contextmanager
def serving() -> Iterator[str]:
    """Let the engine speak HTTP; its address."""
    yield client.call("serve", host="127.0.0.1", port=0)["url"]


def wait_until_gone(folder: Path) -> None:
    """Return once a folder's engine has ended: it holds this lock until then."""
    with private_file.touch(folder / "engine.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def engine_pid() -> int:
    """The process of the engine."""
    return client.call("ping")["pid"]


def memory_of_engine(field: str = "VmRSS") -> int:
    """Bytes that the engine has in memory, or had at most (`VmHWM`). Only Linux says."""
    told = Path(f"/proc/{engine_pid()}/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB$", told, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def forget_most_memory() -> None:
    """Let `VmHWM` begin anew."""
    Path(f"/proc/{engine_pid()}/clear_refs").write_text("5", encoding="ascii")
