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
    for number, program in enumerate(programs):
        if not found or not _fits(program, [programs[one] for one in found[-1]], limits):
            found.append([])
        found[-1].append(number)
    return found


def _fits(program: Program, part: Sequence[Program], limits: Limits) -> bool:
    """Whether a job that has some programs takes one more."""
    if not part:
        return True
    if program.alone or part[0].alone:
        return False
    together = (*part, program)
    return (
        _within(len(together), limits.programs)
        and _within(sum(one.size for one in together), limits.size)
        and _within(sum(one.shots or 0 for one in together), limits.total_shots)
    )


def _within(amount: int, limit: int | None) -> bool:
    return limit is None or amount <= limit
