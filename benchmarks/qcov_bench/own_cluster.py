"""Electrons on the Dask cluster of `qcov start`, beside those of local processes.

Both are electrons of one engine, dispatched in turns, and each as many at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import qcov as ct
from qcov.classical.engine import client
from qcov.classical.engine.cluster import lacking
from qcov.classical.executors.dask_client import own_cluster
from qcov.config import data_dir
from qcov_bench import workflows
from qcov_bench.engines import WORKERS, own_engine
from qcov_bench.rows import LeftOut, Row, interleaved, seconds

_COUNT, _ONES = 200, 20
_COMES_UP = 60.0  # seconds
_RATIO = 3.0

_LOCAL = {name: ct.electron(function, executor="local") for name, function in (
    ("noop", lambda value: value), ("following", lambda value: value + 1),
)}  # fmt: skip


@ct.lattice
def _fan(count: int) -> list[int]:
    return [_LOCAL["noop"](value) for value in range(count)]


@ct.lattice
def _chained(links: int) -> int:
    value = 0
    for _ in range(links):
        value = _LOCAL["following"](value)
    return value


def rows() -> Iterator[Row | LeftOut]:
    """A first burst, and what comes once all is warm."""
    if missing := lacking():
        reason = f"{', '.join(missing)} is not installed (pip install 'qcov[dask]')"
        yield LeftOut(name="Dask", reason=reason)
        return
    here, there = partial(_ran, _fan, _COUNT), partial(workflows.run_fan, _COUNT)
    with own_engine():
        client.call("ping")
        first = seconds(here)
    with own_engine():
        _bring_cluster()
        yield _row(f"the first {_COUNT} electrons", seconds(there), first, count=_COUNT)
        here()
        taken = interleaved(there, here, repeats=11)
        yield _row(f"{_COUNT} electrons, warm", *taken, ratio=_RATIO, count=_COUNT)
        taken = interleaved(
            partial(workflows.run_chain, _COUNT), partial(_ran, _chained, _COUNT), repeats=5
        )
        name = f"a chain of {_COUNT} electrons, warm"
        yield _row(name, *taken, ratio=_RATIO, count=_COUNT)
        taken = interleaved(workflows.run_one, partial(_ran, _fan, 1), repeats=_ONES)
        yield _row("one electron, warm", *taken, ratio=_RATIO)


def _row(
    name: str, ours: float, theirs: float, *, ratio: float | None = None, count: int = 1
) -> Row:
    name = f"{name}, on a Dask cluster of {WORKERS} workers"
    yard = {"theirs": theirs, "yardstick": "local processes"}
    return Row(name=name, ours=ours, ratio=ratio, count=count, **yard)


def _ran(flow: Callable[..., object], count: int) -> None:
    assert ct.dispatch_sync(flow)(count).status == "COMPLETED"


def _bring_cluster() -> None:
    settings = {"workers": WORKERS, "threads": 1, "memory": "auto", "least": 0, "most": 0}
    client.call("serve", host="127.0.0.1", port=0, cluster={**settings, "dashboard": False})
    deadline = time.monotonic() + _COMES_UP
    while own_cluster(data_dir()).get("status") != "running":
        if time.monotonic() > deadline:
            raise TimeoutError(f"the Dask cluster has not come up in {_COMES_UP:g} s")
        time.sleep(0.05)
