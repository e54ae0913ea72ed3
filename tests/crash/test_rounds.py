"""Whatever is killed, at any instant: nothing recorded is lost or run again, and all ends.

`pytest tests/crash/test_rounds.py --crash-rounds=500` kills for longer, `--crash-seed=N
--crash-rounds=1` repeats the round whose test is named `test_round[N]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos import rounds


def test_round(
    round_seed: int, tmp_path: Path, reference: Any, shown: Callable[[Any], None]
) -> None:
    outcome = rounds.play(tmp_path / "round", round_seed, reference)
    shown(outcome)

    assert outcome.violations == [], f"{rounds.plan(round_seed)} killed {outcome.kills}"
