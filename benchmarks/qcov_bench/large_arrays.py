"""A large array that passes through electrons: the engine moves its digest, never its bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import qcov as ct
from qcov_bench.engines import forget_most_memory, memory_of_engine
from qcov_bench.rows import Row, interleaved

_ELECTRONS = 10
_MORE = 5  # MB that the engine may take while arrays pass

Array = np.ndarray


@ct.electron
def touched(array: Array) -> Array:
    """The array with another first number: nothing that is on disk already."""
    array[0] += 1
    return array


@ct.lattice
def passing(array: Array) -> Array:
    """Each electron gets what the one before returned."""
    for _ in range(_ELECTRONS):
        array = touched(array)
    return array


def rows(megabytes: int, *, repeats: int = 5) -> Iterator[Row]:
    """Through the engine, beside the same bytes through the file system."""
    ours = partial(_pass, np.random.default_rng().random(megabytes * 125_000))
    ours()
    before = memory_of_engine()
    forget_most_memory()
    taken, bare = interleaved(ours, partial(_by_hand, megabytes), repeats=repeats)
    most = max(0, memory_of_engine("VmHWM") - before)
    name = f"an array of {megabytes} MB through {_ELECTRONS} electrons, dispatch to result"
    yardstick = "written, read, hashed at both ends"
    yield Row(name=name, ours=taken, theirs=bare, yardstick=yardstick, ratio=1.5)
    name = "what the engine's memory grew by, at most, meanwhile"
    yield Row(name=name, ours=most / 1e6, theirs=None, limit=_MORE, unit="MB")


def _pass(array: Array) -> None:
    array[0] = 0
    array[-1] += 1  # or the store would have it
    assert ct.dispatch_sync(passing)(array).result[0] == _ELECTRONS


def _by_hand(megabytes: int) -> None:
    """What passing it takes: to the first electron, between each two, from the last one."""
    data = os.urandom(1_000_000) * megabytes
    with tempfile.TemporaryDirectory(prefix="qcov-bench-", dir=_beside_the_store()) as folder:
        for number in range(_ELECTRONS + 1):
            _hand_over(data, Path(folder) / str(number))


def _hand_over(data: bytes, path: Path) -> None:
    digest = hashlib.sha256(data).digest()
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    assert hashlib.sha256(path.read_bytes()).digest() == digest


def _beside_the_store() -> str:
    return os.environ["QCOV_DATA_DIR"]  # the same disk
