"""The threads of OpenMP and OpenBLAS, kept out of circuits that are too small for them.

Lightning opens a parallel region of OpenMP for every expectation value, however small. Where all
cores are busy with other work, its threads then wait for each other for milliseconds, a hundred
times longer than the value takes. OpenBLAS, which NumPy computes with, splits the product of a
gate's small matrix with a large state among all cores, which takes up to three times as long as one
core alone.

How many threads a region of OpenMP gets is a setting of the thread that opens it, so what is set
here touches nobody else. That of OpenBLAS is the process's own. Both are set back at once.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")
_BLAS_PREFIXES = ("scipy_openblas", "openblas")
_BLAS_SUFFIXES = ("64_", "")


@contextmanager
def one_openmp_thread() -> Generator[None, None, None]:
    """Let OpenMP use only the calling thread meanwhile, where its library is known."""
    library = _openmp()
    before = 1 if library is None else library.omp_get_max_threads()
    if library is None or before == 1:
        yield
        return
    library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(before)


@contextmanager
def one_blas_thread() -> Generator[None, None, None]:
    """Let OpenBLAS use one thread meanwhile, where its library is known."""
    _blas_users.enter()
    try:
        yield
    finally:
        _blas_users.leave()


class _BlasUsers:
    """Counts who needs one thread only: the first one sets it, the last one sets it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = 1

    def enter(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._before = blas_threads()
                set_blas_threads(1)

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                set_blas_threads(self._before)


_blas_users = _BlasUsers()
os.register_at_fork(after_in_child=_blas_users.__init__)  # who was in here stayed in the parent


def blas_threads() -> int:
    """How many threads NumPy's OpenBLAS uses; 1 if that is not known."""
    found = _blas()
    return found[0]() if found else 1


def set_blas_threads(count: int) -> None:
    """Set how many threads NumPy's OpenBLAS uses, where it is known."""
    found = _blas()
    if found:
        found[1](count)


@cache
def _openmp() -> Any | None:
    """The OpenMP that Lightning was loaded with; None where there is none, or no way to tell."""
    path = _loaded("/libgomp", "pennylane_lightning")
    return None if path is None else ctypes.CDLL(path)


@cache
def _blas() -> tuple[Any, Any] | None:
    """What gets and what sets the number of threads of NumPy's OpenBLAS."""
    path = _loaded("openblas", "numpy")
    library = None if path is None else ctypes.CDLL(path)
    for prefix in _BLAS_PREFIXES:
        for suffix in _BLAS_SUFFIXES:
            get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            put = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
            if get and put:
                return get, put
    return None


def _loaded(library: str, package: str) -> str | None:
    """The path of a library that is loaded: the one that came with a package, or the only one."""
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:  # not Linux
        return None
    paths = {line.split()[-1] for line in lines if library in line}
    own = [path for path in paths if f"/{package}.libs/" in path]
    chosen = own or sorted(paths)
    return chosen[0] if len(chosen) == 1 else None
