"""How programs are cut into jobs that a provider takes."""

from __future__ import annotations

from collections.abc import Sequence

from qcov.qexecutors.provider import Limits, Program


def parts(programs: Sequence[Program], limits: Limits) -> list[list[int]]:
    """Numbers of programs that go into one job each, in order, as few jobs as limits allow.

    A program that is larger than a job may be goes by itself: the provider says what it thinks of
    it.

    >>> some = [Program(payload=None, key=str(n), shots=1, size=4) for n in range(5)]
    >>> parts(some, Limits(programs=3)), parts(some, Limits(size=9))
    ([[0, 1, 2], [3, 4]], [[0, 1], [2, 3], [4]])
    """
    found: list[list[int]] = []
    size = 0
    for number, program in enumerate(programs):
        if not found or _is_full(found[-1], size + program.size, limits):
            found.append([])
            size = 0
        found[-1].append(number)
        size += program.size
    return found


def _is_full(part: Sequence[int], size: int, limits: Limits) -> bool:
    if limits.programs is not None and len(part) >= limits.programs:
        return True
    return bool(part) and limits.size is not None and size > limits.size
