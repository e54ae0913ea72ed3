"""What circuits would cost, before they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qcov.budget import Unit, amount_text
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What circuits would cost on one executor.

    Args:
        executor: Its class.
        device: The device that they would run on.
        circuits: How many there are.
        jobs: How many jobs they would be.
        amounts: What they cost at most, by unit ("USD", "QPU seconds", "tasks", "shots"); what is
            not there is not known.
        prices: Where the prices come from, and of which day they are.
    """

    executor: str
    device: str | None
    circuits: int
    jobs: int
    amounts: Mapping[str, float]
    prices: str | None = None

    @property
    def usd(self) -> float | None:
        """US dollars; None if the price is not known."""
        return self.amounts.get(Unit.USD)

    def __str__(self) -> str:
        where = self.executor if self.device is None else f"{self.executor}({self.device})"
        amounts = ", ".join(amount_text(unit, amount) for unit, amount in self.amounts.items())
        price = "" if self.usd is not None else "; its price in USD is not known"
        source = f"; prices: {self.prices}" if self.prices else ""
        what = f"{_counted(self.circuits, 'circuit')} in {_counted(self.jobs, 'job')}"
        return f"{where}: {what}, at most {amounts or 'unknown'}{price}{source}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What circuits would cost: a bill for each executor that may run all of them."""

    bills: tuple[Bill, ...]

    @property
    def usd(self) -> float | None:
        """US dollars on the dearest executor; None if the price of one is not known."""
        costs = [bill.usd for bill in self.bills]
        known = [cost for cost in costs if cost is not None]
        return max(known) if len(known) == len(costs) else None

    def __repr__(self) -> str:
        return "\n".join(map(str, self.bills))


def estimate(batches: Sequence[CircuitBatch], executor: BaseQExecutor) -> Estimate:
    """What batches that run one after the other would cost on each executor there is.

    Args:
        batches: The circuits.
        executor: Where they would run; of a cluster each executor has its own bill.
    """
    return Estimate(tuple(_bill(batches, leaf) for leaf in executor.leaves()))


def _bill(batches: Sequence[CircuitBatch], executor: BaseQExecutor) -> Bill:
    jobs = [job for batch in batches for job in executor.estimate_batch(batch)]
    units = set(jobs[0]).intersection(*jobs[1:]) if jobs else set[str]()
    return Bill(
        executor=executor.name,
        device=executor.device_name,
        circuits=sum(len(batch.circuits) for batch in batches),
        jobs=len(jobs),
        amounts={unit: sum(job[unit] for job in jobs) for unit in sorted(units)},
        prices=executor.prices,
    )
