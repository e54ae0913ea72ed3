"""Which turns were taken, in this run and in earlier ones with the same file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from qcov_bench.backends.journal import Content
from qcov_bench.backends.procedure import Procedure


@dataclass(slots=True)
class Ledger:
    """By cell, the turns that were taken and how long they took."""

    _seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, content: Content, *, retry: bool) -> Self:
        """What stands in a file; with `retry`, what failed there counts as not tried yet."""
        ledger = cls()
        for line in content.of_kind("sample"):
            ledger.add(line["cell"], line["turn"], line["seconds"])
        if not retry:
            ledger._failed = {line["cell"] for line in content.of_kind("failure")}
        return ledger

    def add(self, cell: str, turn: int, seconds: float) -> None:
        """One more turn was taken."""
        self._seconds.setdefault(cell, {})[turn] = seconds

    def has(self, cell: str, turn: int) -> bool:
        """Whether a turn was taken."""
        return turn in self._seconds.get(cell, ())

    def is_done(self, cell: str, procedure: Procedure) -> bool:
        """Whether no more turns are to be taken: all were, or enough, or it has failed."""
        taken = self._seconds.get(cell, {})
        return (
            cell in self._failed
            or len(taken.keys() & range(procedure.repetitions)) == procedure.repetitions
            or (bool(taken) and sum(taken.values()) >= procedure.enough)
        )
