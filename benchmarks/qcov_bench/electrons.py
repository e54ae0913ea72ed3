"""Electrons: a thousand that do nothing, from dispatch to result, beside Dask's processes.

qcov's are durable: every result is on disk before the dispatch ends, and their output is captured.
Dask's are neither. The goal is 2,500 per second on a machine where Dask does 657. It is stated as
that ratio, which means the same on a slower one.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import qcov as ct
from qcov.classical.engine import client
from qcov_bench.rows import Row, interleaved

_COUNT = 1_000
_RATIO = 657 / 2_500


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
    with _own_engine(), _dask() as theirs:
        for _ in range(3):  # warm: workers forked, code loaded
            _ours()
            theirs()
        ours, dask = interleaved(_ours, theirs, repeats=7)
    name = f"{_COUNT:,} no-op electrons, dispatch to result, durable"
    return [
        Row(
            name=name,
            ours=ours,
            theirs=dask,
            yardstick="Dask distributed, not durable",
            ratio=_RATIO,
            count=_COUNT,
        )
    ]


def _ours() -> None:
    result = ct.dispatch_sync(fan)(_COUNT).result
    assert result == list(range(_COUNT))


@contextmanager
def _own_engine() -> Iterator[None]:
    """An engine on an empty data folder, so that the user's own is neither read nor filled."""
    before = os.environ.get("QCOV_DATA_DIR")
    with tempfile.TemporaryDirectory(prefix="qcov-bench-") as folder:
        os.environ["QCOV_DATA_DIR"] = folder
        try:
            yield
        finally:
            client.call("stop")
            if before is None:
                del os.environ["QCOV_DATA_DIR"]
            else:
                os.environ["QCOV_DATA_DIR"] = before


@contextmanager
def _dask() -> Iterator[Callable[[], None]]:
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=os.cpu_count(),
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
