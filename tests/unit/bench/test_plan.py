"""What is measured, and in which order."""

from __future__ import annotations

from collections import Counter

import pytest

from qcov.errors import CannotMeasure
from qcov_bench.backends import plan
from qcov_bench.backends.families import find
from qcov_bench.backends.plan import Grid


def keys(grid: Grid) -> list[str]:
    return [case.key for case in plan.cases(grid)]


def test_every_combination_is_a_case_once_and_small_ones_come_first() -> None:
    grid = Grid(
        families=find(["vqe", "ghz"]), qubits=[4, 2, 4], depths=[None, 3, 1], shots=[None, 10]
    )

    found = keys(grid)

    assert len(found) == len(set(found)) == 2 * 2 * 2 + 2 * 2  # vqe's usual depth is 3
    assert found[:2] == ["vqe, 2 qubits, depth 3, analytic", "vqe, 2 qubits, depth 1, analytic"]
    assert found[-1] == "ghz, 4 qubits, 10 shots"


def test_the_usual_depth_goes_with_the_size() -> None:
    grid = Grid(families=find(["grover"]), qubits=[2, 6])

    assert [case.depth for case in plan.cases(grid)] == [1, 6]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (Grid(families=find(["ghz"]), qubits=[0]), "0 qubits: there must be at least 1"),
        (Grid(families=find(["ghz"]), qubits=[-3]), "-3 qubits: there must be at least 1"),
        (Grid(families=find(["ghz"]), qubits=[1]), "ghz with 1 qubits: it needs at least 2"),
        (Grid(families=find(["vqe"]), qubits=[2], depths=[0]), "0 depth: there must be"),
        (Grid(families=find(["ghz"]), qubits=[2], shots=[0]), "0 shots: .* 'analytic'"),
    ],
)
def test_what_cannot_be_is_refused(grid: Grid, said: str) -> None:
    with pytest.raises(CannotMeasure, match=said):
        plan.cases(grid)


def test_the_order_is_fair_and_the_same_for_the_same_seed() -> None:
    names = ["a", "b", "c"]

    def orders(seed: int) -> list[str]:
        return [
            "".join(plan.order(names, case="it", measure="call", turn=turn, seed=seed))
            for turn in range(600)
        ]

    assert orders(1) == orders(1) != orders(2)
    assert len(Counter(orders(1))) == 6
    assert all(70 <= count <= 130 for count in Counter(orders(1)).values())
