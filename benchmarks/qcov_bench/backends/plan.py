"""What is to be measured, in which order: pure, so that a rerun makes the same plan."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from qcov.errors import CannotMeasure
from qcov_bench.backends.families import Family


class Measure(StrEnum):
    """What is done with a circuit."""

    CALL = "call"  #: one circuit, and its value is waited for
    BATCH = "batch"  #: many at once
    GRADIENT = "gradient"  #: the derivative with respect to all parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What the user asked for: every combination is a case.

    Args:
        families: Kinds of circuits.
        qubits: Sizes; files have their own.
        depths: Depths; None takes each family's usual one.
        shots: Numbers of shots; None is analytic.
    """

    families: Sequence[Family]
    qubits: Sequence[int]
    depths: Sequence[int | None] = (None,)
    shots: Sequence[int | None] = (None,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One circuit with its shots."""

    family: Family
    wires: int
    depth: int
    shots: int | None

    @property
    def key(self) -> str:
        """By which results are found again.

        >>> from qcov_bench.backends.families import find
        >>> Case(family=find(["ghz"])[0], wires=4, depth=1, shots=None).key
        'ghz, 4 qubits, analytic'
        """
        family = self.family
        name = f"{family.name} #{family.identity}" if family.identity else family.name
        depth = [f"depth {self.depth}"] if family.depth else []
        shots = "analytic" if self.shots is None else f"{self.shots} shots"
        return ", ".join([name, f"{self.wires} qubits", *depth, shots])


def cases(grid: Grid) -> list[Case]:
    """All cases of a grid, each once, small circuits first.

    Raises:
        CannotMeasure: A number is below 1, or a family needs more qubits.
    """
    _check(grid)
    found: dict[str, Case] = {}
    for family, shots in product(grid.families, grid.shots):
        sizes = grid.qubits if family.wires is None else (family.wires,)
        depths = grid.depths if family.depth else (None,)
        for wires, depth in product(sizes, depths):
            _check_size(family, wires)
            chosen = family.usual_depth(wires) if depth is None else depth
            case = Case(family=family, wires=wires, depth=chosen, shots=shots)
            found.setdefault(case.key, case)
    order = {family.name: place for place, family in enumerate(grid.families)}
    return sorted(found.values(), key=lambda case: (case.wires, order[case.family.name]))


def _check(grid: Grid) -> None:
    numbers = {"qubits": grid.qubits, "depth": grid.depths, "shots": grid.shots}
    for what, values in numbers.items():
        for value in values:
            if value is not None and value < 1:
                reason = "there must be at least 1"
                advice = "Shots may be left away: 'analytic'." if what == "shots" else ""
                raise CannotMeasure(what=f"{value} {what}", reason=reason, advice=advice)


def _check_size(family: Family, wires: int) -> None:
    if wires < family.least:
        raise CannotMeasure(
            what=f"{family.name} with {wires} qubits",
            reason=f"it needs at least {family.least}",
            advice="Leave the family or the number away.",
        )


def order(names: Sequence[str], *, case: str, measure: str, turn: int, seed: int) -> list[str]:
    """Who is measured after whom in one turn: by chance, but the same for the same seed.

    All are measured once in a turn, so that a slow moment of the machine meets all alike, and none
    always comes after the same other one.
    """
    text = f"{seed}/{case}/{measure}/{turn}".encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8])
    shuffled = list(names)
    random.Random(number).shuffle(shuffled)
    return shuffled
