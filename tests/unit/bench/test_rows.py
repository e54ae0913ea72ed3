"""What the benchmarks say about what they have measured."""

from __future__ import annotations

import itertools

import pytest

from qcov_bench.__main__ import main
from qcov_bench.rows import LeftOut, Row, in_turns, medians


@pytest.mark.parametrize(
    ("ours", "theirs", "limit", "ratio", "met"),
    [
        (1.0, None, 1.0, None, True),
        (1.1, None, 1.0, None, False),
        (1.0, 0.1, 2.0, None, True),
        (1.5, 1.0, None, 1.5, True),
        (1.6, 1.0, None, 1.5, False),
        (9.0, 1.0, None, None, True),
    ],
)
def test_a_goal_is_a_limit_or_a_ratio_or_none(
    ours: float, theirs: float | None, limit: float | None, ratio: float | None, met: bool
) -> None:
    assert Row(name="it", ours=ours, theirs=theirs, limit=limit, ratio=ratio).met is met


def test_whoever_came_first_comes_last_in_the_next_round() -> None:
    asked: list[str] = []
    numbers = itertools.count(1)

    def measure(name: str) -> float:
        asked.append(name)
        return next(numbers)

    found = in_turns({name: lambda name=name: measure(name) for name in "ab"}, repeats=3)

    assert "".join(asked) == "abbaab"
    assert found == {"a": 4, "b": 3}


def test_each_function_is_called_as_often_as_was_asked() -> None:
    called: list[None] = []

    assert medians({"it": lambda: called.append(None)}, repeats=3)["it"] >= 0
    assert len(called) == 3


def test_what_was_left_out_is_told_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [
        Row(name="no goal", ours=2e-3, theirs=1e-3, yardstick="a peer"),
        Row(name="a goal", ours=2e-3, theirs=None, limit=1e-3),
        LeftOut(name="Peer", reason="not installed (peer)"),
    ]
    monkeypatch.setattr("qcov_bench.start.rows", lambda: told)

    with pytest.raises(SystemExit, match="1"):
        main(["start", "--strict"])

    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("left out")] == [
        "left out: Peer: not installed (peer)"
    ]
    [without] = [line for line in said.splitlines() if "no goal" in line]
    assert "2.00" in without
    assert "≤" not in without
