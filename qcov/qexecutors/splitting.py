"""How programs are cut into jobs that a provider takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qcov.qexecutors.provider import Limits, Program


def parts(programs: Sequence[Program], limits: Limits) -> list[list[int]]:
    """Numbers of programs that go into one job each, in order, as few jobs as limits allow.

    A program that is larger than a job may be goes by itself: the provider says what it thinks of
    it.

    >>> some = [Program(payload=None, key=str(n), shots=1, size=4) for n in range(5)]
    >>> parts(some, Limits(programs=3)), parts(some, Limits(size=9))
    ([[0, 1, 2], [3, 4]], [[0, 1], [2, 3], [4]])
    """
    found: list[_Part] = []
    for number, program in enumerate(programs):
        if not found or not found[-1].takes(program, limits):
            found.append(_Part())
        found[-1].add(number, program)
    return [part.numbers for part in found]


@dataclass(slots=True)
class _Part:
    """Programs of one job, and how much they are together."""

    numbers: list[int] = field(default_factory=list[int])
    size: int = 0
    shots: int = 0
    alone: bool = False

    def takes(self, program: Program, limits: Limits) -> bool:
        """Whether the job may have one more."""
        return not (self.alone or program.alone) and (
            _within(len(self.numbers) + 1, limits.programs)
            and _within(self.size + program.size, limits.size)
            and _within(self.shots + (program.shots or 0), limits.total_shots)
        )

    def add(self, number: int, program: Program) -> None:
        """Put a program in."""
        self.numbers.append(number)
        self.size += program.size
        self.shots += program.shots or 0
        self.alone = program.alone


def _within(amount: int, limit: int | None) -> bool:
    return limit is None or amount <= limit
