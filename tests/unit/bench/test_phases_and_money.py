"""Where time and money went, from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch
from qcov.quantum.cluster import QCluster
from qcov_bench.backends import money, phases
from qcov_bench.backends.caps import Caps

RECORD = {"queued": 10.0, "started": 10.5, "finished": 13.0, "execution_time": 2.0}


def test_what_nobody_tells_is_unknown_and_not_nothing() -> None:
    found = phases.of_call(RECORD, begun=9.0, ended=13.25)

    assert found == {
        "build": 1.0, "wait": 0.5, "transpile": None, "queue": None, "run": 2.0,
        "fetch": None, "return": 0.25,
    }  # fmt: skip


def test_what_an_executor_tells_of_its_time_is_shown() -> None:
    told = {"timing": {"transpile": 0.2, "queue": 1, "run": 0.7, "fetch": 0.0, "nap": 3.0}}

    found = phases.of_call({**RECORD, "metadata": told}, begun=9.0, ended=13.25)

    assert (found["transpile"], found["queue"], found["run"], found["fetch"]) == (0.2, 1, 0.7, 0.0)
    assert "nap" not in found


@pytest.mark.parametrize("wrong", ["soon", -1.0, True, None, float("nan"), float("inf"), [1]])
def test_what_is_no_time_is_unknown(wrong: object) -> None:
    assert phases.timing({"metadata": {"timing": {"run": wrong, "fetch": 1.0}}}) == {"fetch": 1.0}
    assert phases.timing({"metadata": wrong}) == {}


def test_a_clock_that_is_set_back_makes_no_negative_time() -> None:
    assert phases.of_call(RECORD, begun=11.0, ended=12.0)["build"] == 0.0


def test_a_median_is_of_the_samples_that_know() -> None:
    found = phases.medians([{"run": 1.0}, {"run": None}, {"run": 3.0, "fetch": None}])

    assert (found["run"], found["fetch"], found["build"]) == (2.0, None, None)


@pytest.mark.parametrize(
    ("cost", "usd"),
    [
        (None, None),
        ({}, None),
        ({"USD": 0.5}, 0.5),
        ({"usd": 1}, 1.0),
        ({"actual": {"USD": 0.2}, "estimate": {"USD": 0.9}}, 0.2),
        ({"actual": None, "estimate": {"USD": 0.9}}, 0.9),
        ({"actual": {"QPU seconds": 3.0}}, None),
        ("much", None),
    ],
)
def test_the_dollars_of_a_record(cost: Any, usd: float | None) -> None:
    assert money.usd(cost) == usd


def test_records_that_say_nothing_are_no_zero() -> None:
    assert money.of_records([{"cost": None}, {}]) is None
    assert (
        money.of_records([{"cost": {"USD": 0.25}}, {"cost": None}, {"cost": {"USD": 0.5}}]) == 0.75
    )


class Priced(BaseQExecutor):
    price: float | None = None

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        raise NotImplementedError

    def estimate_cost(self, circuit: Circuit) -> float | None:
        return self.price


def test_of_a_cluster_the_dearest_member_counts_and_one_that_is_silent_spoils_it() -> None:
    circuit: Any = None

    assert (
        money.estimated(QCluster(executors=[Priced(price=1.0), Priced(price=3.0)]), circuit, 2) == 6
    )
    assert money.estimated(QCluster(executors=[Priced(price=1.0), Priced()]), circuit, 2) is None


# -- caps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "spent", "estimate", "may"),
    [
        (None, 0.0, 0.0, True),
        (None, 0.0, None, False),
        (None, 0.0, 0.01, False),
        (1.0, 0.0, None, False),
        (1.0, 0.5, 0.5, True),
        (1.0, 0.6, 0.5, False),
        (0.0, 0.0, 0.0, True),
    ],
)
def test_what_costs_money_needs_leave(
    limit: float | None, spent: float, estimate: float | None, may: bool
) -> None:
    caps = Caps(clock=lambda: 0.0, max_usd=limit, usd=spent)

    assert (caps.refusal(estimate) is None) is may


@pytest.mark.parametrize("limit", [None, 0.0, 1.0])
def test_what_nobody_knows_the_price_of_needs_leave_of_its_own(limit: float | None) -> None:
    caps = Caps(clock=lambda: 0.0, max_usd=limit, usd=0.5, unknown_price=True)

    assert caps.refusal(None) is None
    assert caps.refusal(0.75) is not None


def test_what_something_was_expected_to_cost_counts_until_it_is_known() -> None:
    caps = Caps(clock=lambda: 0.0)
    caps.spend(None, 0.5)
    caps.spend(0.25, 0.5)
    caps.spend(None, None)

    assert caps.usd == 0.75


def test_time_is_up_at_its_limit() -> None:
    now = [100.0]
    caps = Caps(clock=lambda: now[0], max_seconds=5.0)

    assert not caps.time_is_up
    now[0] = 105.0
    assert caps.time_is_up
