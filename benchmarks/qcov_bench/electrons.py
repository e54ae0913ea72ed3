"""Electrons: a thousand that do nothing, from dispatch to result, beside Dask's processes.

qcov's are durable: every result is on disk before the dispatch ends, and their output is captured.
Dask's are neither. The goal is 2,500 per second; it was set on a machine where Dask's two processes
do 657, so the ratio to those is a second way to state it, which a slower machine can show too.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import qcov as ct
from qcov.classical.engine import client
from qcov_bench.rows import Row, interleaved

_COUNT = 1_000
_WORKERS = 2
_PER_SECOND = 2_500
_RATIO = 657 / _PER_SECOND


@ct.electron
def noop(value: int) -> int:
    """Return the argument."""
    return value


@ct.lattice
def fan(count: int) -> list[int]:
    """Independent electrons with distinct arguments."""
    return [noop(value) for value in range(count)]


def rows() -> list[Row]:
    """1,000 electrons, warm."""
    with own_engine(), _dask() as theirs:
        for _ in range(3):  # warm: workers forked, code loaded
            _ours()
            theirs()
        ours, dask = interleaved(_ours, theirs, repeats=7)
    name = f"{_COUNT:,} no-op electrons, dispatch to result, durable, {_WORKERS} workers"
    yardstick = "Dask distributed, not durable"
    return [
        Row(name=name, ours=ours, theirs=dask, yardstick=yardstick, ratio=_RATIO, count=_COUNT),
        Row(name="the same", ours=ours, theirs=None, limit=_COUNT / _PER_SECOND, count=_COUNT),
    ]


def _ours() -> None:
    result = ct.dispatch_sync(fan)(_COUNT).result
    assert result == list(range(_COUNT))


@contextmanager
def own_engine() -> Iterator[None]:
    """An engine on an empty data folder, so that the user's own is neither read nor filled."""
    with tempfile.TemporaryDirectory(prefix="qcov-bench-") as folder:
        ours = {"QCOV_DATA_DIR": folder, "QCOV_ENGINE_WORKERS": str(_WORKERS)}
        with mock.patch.dict(os.environ, ours):
            yield
            client.call("stop")


@contextmanager
def _dask() -> Iterator[Callable[[], None]]:
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=_WORKERS,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as dask,
    ):

        def run() -> None:
            futures = dask.map(noop.function, range(_COUNT), pure=False)
            assert dask.gather(futures) == list(range(_COUNT))

        yield run
