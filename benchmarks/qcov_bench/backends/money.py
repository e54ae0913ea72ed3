"""What circuits cost: before, by asking the executor; after, from their records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from qcov.qexecutors.base import BaseQExecutor, Circuit


def estimated(executor: BaseQExecutor, circuit: Circuit, count: int) -> float | None:
    """US dollars that so many circuits like this one may cost; None if nobody knows.

    Of a cluster, the dearest member is asked: any of them may run the circuit.
    """
    costs = [leaf.estimate_cost(circuit) for leaf in executor.leaves()]
    known = [cost for cost in costs if cost is not None]
    return count * max(known) if known and len(known) == len(costs) else None


def of_records(records: Iterable[Mapping[str, Any]]) -> float | None:
    """US dollars that circuits cost by their records; None if none of them says."""
    costs = [usd(record.get("cost")) for record in records]
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if known else None


def spent(lines: Iterable[Mapping[str, Any]]) -> float:
    """US dollars that the runs of a file have spent, warm-ups and failures too.

    What was set aside before circuits ran counts until it is known what they cost, also if their
    program was killed.

    >>> spent([{"kind": "reserved", "usd": 0.5}, {"kind": "spent", "usd": 0.25}])
    0.25
    >>> spent([{"kind": "reserved", "usd": 0.5}, {"kind": "run"}, {"kind": "spent", "usd": 0.25}])
    0.75
    """
    total = reserved = 0.0
    for line in lines:
        match line["kind"]:
            case "reserved" | "run":
                total += reserved
                reserved = line["usd"] if line["kind"] == "reserved" else 0.0
            case "spent":
                total, reserved = total + line["usd"], 0.0
            case _:
                pass
    return total + reserved


def usd(cost: object) -> float | None:
    """The dollars of a record's cost: what it was, or else what it was expected to be.

    >>> usd({"estimate": {"USD": 0.3}, "actual": {"USD": 0.35, "tasks": 1}})
    0.35
    """
    if not isinstance(cost, Mapping):
        return None
    for amounts in (cost.get("actual"), cost, cost.get("estimate")):
        value = _amount(amounts)
        if value is not None:
            return value
    return None


def _amount(amounts: object) -> float | None:
    if not isinstance(amounts, Mapping):
        return None
    for name, value in amounts.items():
        if str(name).upper() == "USD" and isinstance(value, int | float):
            return float(value)
    return None
