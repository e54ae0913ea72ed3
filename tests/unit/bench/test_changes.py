"""What has become slower or worse, and what only seems so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from qcov_bench.backends.changes import Change, Verdict, changes, circumstances
from qcov_bench.backends.journal import Line


def cell(
    seconds: Sequence[float],
    *,
    subject: str = "ours",
    bare: str | None = None,
    measure: str = "call",
    **more: Any,
) -> list[Line]:
    role = "peer" if subject.startswith("PennyLane") else "executor"
    asked = {"subject": subject, "role": role, "bare": bare, "case": "ghz", "measure": measure}
    return [
        {
            "kind": "sample",
            "cell": subject,
            "turn": turn,
            "circuits": 1,
            "seconds": one,
            **asked,
            **more,
        }
        for turn, one in enumerate(seconds)
    ]


def failure(subject: str = "ours") -> Line:
    asked = {"subject": subject, "role": "executor", "case": "ghz", "measure": "call"}
    return {"kind": "failure", "cell": subject, "error": "gone", **asked}


def noisy(median: float, *, seed: int, count: int = 9, spread: float = 0.03) -> list[float]:
    return list(median * np.random.default_rng(seed).normal(1, spread, count))


def only(found: Sequence[Change]) -> Change:
    [change] = found
    return change


@pytest.mark.parametrize(
    ("factor", "count", "verdict"),
    [
        (1.0, 9, Verdict.NOISE),
        (1.02, 40, Verdict.NOISE),  # found, and too little to be told
        (1.5, 9, Verdict.SLOWER),
        (0.5, 9, Verdict.FASTER),
        (3.0, 2, Verdict.TOO_FEW),
        (3.0, 5, Verdict.SLOWER),
    ],
)
def test_a_time_has_changed_only_if_statistics_say_so(
    factor: float, count: int, verdict: Verdict
) -> None:
    before = cell(noisy(1.0, seed=1, count=count))
    after = cell(noisy(factor, seed=2, count=count))

    found = only(changes(before, after))

    assert found.verdict is verdict
    assert found.is_regression is (verdict is Verdict.SLOWER)
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(factor, rel=0.05)


def test_a_large_difference_of_medians_inside_much_noise_is_none() -> None:
    before = cell([1.0, 1.1, 5.0, 1.2, 4.0, 0.9, 1.3])
    after = cell([4.0, 1.0, 1.2, 5.0, 1.1, 4.5, 0.9])

    assert only(changes(before, after)).verdict is Verdict.NOISE


def test_the_threshold_says_how_much_does_not_count() -> None:
    before, after = cell(noisy(1.0, seed=1)), cell(noisy(1.3, seed=2))

    assert only(changes(before, after, threshold=0.1)).verdict is Verdict.SLOWER
    assert only(changes(before, after, threshold=0.5)).verdict is Verdict.NOISE


def test_who_has_become_slower_with_its_bare_device_has_met_another_machine() -> None:
    bare = "PennyLane default.qubit"

    def both(ours: float, theirs: float, seed: int) -> list[Line]:
        own = cell(noisy(ours, seed=seed), bare=bare)
        return own + cell(noisy(theirs, seed=seed + 1), subject=bare)

    calm = both(1.0, 2.0, 1)
    machine = {one.subject: one for one in changes(calm, both(1.6, 3.2, 5))}
    own_fault = {one.subject: one for one in changes(calm, both(3.2, 3.2, 7))}

    assert machine["ours"].verdict is Verdict.MACHINE
    assert machine[bare].verdict is Verdict.SLOWER
    assert not any(one.is_regression for one in machine.values())
    assert own_fault["ours"].is_regression
    assert own_fault["ours"].bare is not None
    assert own_fault["ours"].bare.value == pytest.approx(1.6, rel=0.1)


@pytest.mark.parametrize(
    ("name", "before", "after", "verdict"),
    [
        ("fidelity", 0.99, 0.80, Verdict.WORSE),
        ("fidelity", 0.80, 0.99, Verdict.BETTER),
        ("fidelity", 0.990, 0.985, Verdict.NOISE),
        ("deviation", 0.0, 0.5, Verdict.WORSE),
        ("deviation", 0.5, 0.0, Verdict.BETTER),
        ("deviation", 1e-16, 3e-16, Verdict.NOISE),
    ],
)
def test_values_become_worse_too(name: str, before: float, after: float, verdict: Verdict) -> None:
    same = noisy(1.0, seed=1)

    found = changes(cell(same, **{name: before}), cell(same, **{name: after}))

    assert {one.measure: one.verdict for one in found} == {"call": Verdict.NOISE, name: verdict}


@pytest.mark.parametrize(("shots", "verdict"), [(None, Verdict.WORSE), (500, Verdict.TOO_FEW)])
def test_values_without_shots_are_no_matter_of_chance(shots: int | None, verdict: Verdict) -> None:
    before, after = ({"fidelity": value, "shots": shots} for value in (0.99, 0.5))

    found = changes(cell([1.0], **before), cell([1.0], **after))

    assert {one.measure: one.verdict for one in found}["fidelity"] is verdict


def test_a_gradient_with_more_circuits_is_told_without_statistics() -> None:
    def gradient(circuits: int) -> list[Line]:
        return [{**line, "circuits": circuits} for line in cell([1.0], measure="gradient")]

    found = {one.measure: one for one in changes(gradient(10), gradient(20))}

    assert found["circuits of a gradient"].verdict is Verdict.DEARER
    assert found["circuits of a gradient"].is_regression


def test_what_is_on_one_side_only_says_why() -> None:
    here = cell([1.0, 1.1])

    assert only(changes(here, [failure()])).verdict is Verdict.FAILS
    assert only(changes([failure()], here)).verdict is Verdict.WORKS
    assert only(changes(here, [])).verdict is Verdict.GONE
    assert only(changes([], here)).verdict is Verdict.NEW
    assert only(changes(here, [failure()])).is_regression


def test_a_comparison_with_itself_finds_nothing() -> None:
    rng = np.random.default_rng(0)
    lines = [line for at in range(40) for line in cell(list(rng.random(9)), subject=f"s{at}")]

    assert {one.verdict for one in changes(lines, lines)} == {Verdict.NOISE}


def test_what_would_be_a_finding_by_itself_has_perhaps_changed() -> None:
    """Five samples on each side that are all apart: 1 of 126 by chance, and there are 40 cells."""
    calm = [line for at in range(40) for line in cell([1.0, 1.1, 1.2, 1.3, 1.4], subject=f"s{at}")]
    one = [
        {**line, "seconds": 9.0 + line["turn"]} if line["subject"] == "s7" else line
        for line in calm
    ]
    slower = [change for change in changes(calm, one) if change.verdict is not Verdict.NOISE]

    assert [(change.subject, change.verdict) for change in slower] == [
        ("s7", Verdict.PERHAPS_SLOWER)
    ]
    assert not slower[0].is_regression


def test_two_runs_of_the_same_thing_hardly_ever_differ() -> None:
    """Of 20 pairs of runs with 20 measurements each, about one has a finding by chance."""
    rng = np.random.default_rng(3)

    def run() -> list[Line]:
        return [
            line for at in range(20) for line in cell(list(rng.normal(1, 0.3, 9)), subject=f"s{at}")
        ]

    wrong = sum(any(one.is_regression for one in changes(run(), run())) for _ in range(20))

    assert wrong <= 3


def test_other_circumstances_are_told() -> None:
    def run(version: str) -> Line:
        return {"kind": "run", "machine": {"cores": 2}, "versions": {"qcov": version}}

    assert circumstances([run("1")], [run("2")]) == ["qcov 2 instead of 1"]
    assert circumstances([], [run("2")]) == []
