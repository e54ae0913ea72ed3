"""Whatever is killed, at any instant: nothing recorded is lost or run again, and all ends.

`pytest tests/crash/test_rounds.py --crash-rounds=500` kills for longer, `--crash-seed=N
--crash-rounds=1` repeats the round whose test is named `test_round[N]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chaos import kills, rounds

POINTS_OF_A_START = ("folder owned", "store opened", "dispatches recovered", "engine announced")


@pytest.mark.parametrize("point", POINTS_OF_A_START)
def test_a_program_outlives_an_engine_that_is_killed_as_it_starts(
    tmp_path: Path, reference: Any, point: str
) -> None:
    kill = kills.Kill(victim="engine", point=point)
    outcome = rounds.Round(tmp_path / "round", seed=0).run([kill], reference)

    assert outcome.violations == []
    assert (outcome.kills, outcome.engines, outcome.clients) == ([("engine", point)], 2, 1)


@pytest.mark.services
def test_round_with_two_engines_and_a_server(
    shared_seed: int, tmp_path: Path, reference: Any, shown: Any, postgresql_server: Any
) -> None:
    """The database is PostgreSQL's, whose server is killed as well."""
    outcome = rounds.play(tmp_path / "round", shared_seed, reference, postgresql_server)
    shown(outcome)

    plan = kills.plan(shared_seed, server=True)
    assert outcome.violations == [], f"{plan} killed {outcome.kills}"


def test_round(
    round_seed: int, tmp_path: Path, reference: Any, shown: Callable[[Any], None]
) -> None:
    outcome = rounds.play(tmp_path / "round", round_seed, reference)
    shown(outcome)

    assert outcome.violations == [], f"{kills.plan(round_seed)} killed {outcome.kills}"
