"""OpenMP's threads, kept out of circuits that are too small for them.

Lightning opens a parallel region for every expectation value, however small. Where all cores are
busy with other work, its threads then wait for each other for milliseconds, a hundred times longer
than the value takes. How many threads a region gets is a setting of the thread that opens it, so
what is set here touches nobody else, and it is set back at once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Let OpenMP use only the calling thread meanwhile, where its library is known."""
    library = _library()
    before = 1 if library is None else library.omp_get_max_threads()
    if library is None or before == 1:
        yield
        return
    library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(before)


@cache
def _library() -> Any | None:
    """The OpenMP that Lightning was loaded with; None where there is none, or no way to tell."""
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:  # not Linux
        return None
    paths = {line.split()[-1] for line in lines if "/libgomp" in line}
    own = [path for path in paths if "pennylane_lightning" in path]
    chosen = own or sorted(paths)
    return ctypes.CDLL(chosen[0]) if len(chosen) == 1 else None
