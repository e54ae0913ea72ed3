"""Nothing is paid twice, whatever a provider does wrong and whoever is killed."""

from __future__ import annotations

from typing import Any

import pytest

from qcov_bench.chaos import chaos

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize(
    "settings",
    [{}, {"idempotent": False}, {"usd": 0.5}],
    ids=["knows tokens", "forgets tokens", "on a budget"],
)
def test_nothing_is_paid_twice(settings: dict[str, Any]) -> None:
    report = chaos(80, processes=4, kills=4, seed=17, **settings)

    assert report.violations == []
    forgets = settings.get("idempotent") is False
    allowed = {"UnknownSubmission", "ExecutorOffline"} if forgets else set[str]()
    allowed |= {"BudgetExceeded"} if "usd" in settings else set()
    assert report.errors.keys() <= allowed, report.examples
    assert report.kills >= 1
