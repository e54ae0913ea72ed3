"""Processes that a worker of a Dask cluster keeps for the next electrons."""

from __future__ import annotations

import sys
import threading

import psutil
import pytest

from qcov.classical.executors import dask_worker
from tests.waiting import ended, until

pytestmark = pytest.mark.process


class _Large(dask_worker._Process):
    """A process that has so much that its end can be waited for as long as the test likes."""

    def __init__(self) -> None:
        super().__init__("a program", sys.executable)
        self.has_ended = threading.Event()

    def close(self) -> None:
        self.has_ended.wait()
        super().close()


def test_a_worker_goes_on_while_one_that_took_too_much_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = _Large()
    monkeypatch.setattr(dask_worker, "_idle", [process])
    found = psutil.Process(process.pid)
    told = threading.Thread(target=dask_worker.exceeded, args=(process.pid, 2, 1, 0.0))
    told.start()
    try:
        told.join(10)
        assert not told.is_alive()
        assert dask_worker._idle == []
        until(lambda: ended(found), 10)
    finally:
        process.has_ended.set()
    until(lambda: process._process.returncode is not None, 10)
