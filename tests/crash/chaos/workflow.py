"""What a round runs: some 200 electrons of every kind in three dispatches, and their program.

Every electron notes that it runs. Values are the same in every run, so that two runs can be
compared by their digests.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import qcov as ct
from chaos import faults, journal, points
from qcov.classical.engine.client import connect
from qcov.classical.lattice import Lattice
from qcov.context import get_context
from qcov.errors import StoreUnavailable
from qcov.executor import BaseExecutor


def ran() -> list[Any]:
    """Note that this electron runs."""
    here = get_context()
    assert here is not None
    entry = ["ran", here.dispatch_id, here.node_id]
    journal.note(*entry)
    return entry


@ct.electron(retries=2)
def step(number: int) -> int:
    ran()
    return number + 1


@ct.electron
def fragile(number: int) -> int:
    ran()
    return number * number


@ct.electron(retries=2)
def slow(number: int) -> int:
    ran()
    print("slow", number)
    time.sleep(0.02)
    return number * number


@ct.electron(retries=2)
def total(numbers: list[int]) -> int:
    ran()
    return sum(numbers)


@ct.electron(retries=2)
def table(size: int) -> dict[str, list[int]]:
    ran()
    return {"odd": list(range(1, size, 2)), "even": list(range(0, size, 2))}


@ct.electron(retries=2)
def large(number: int) -> bytes:
    ran()
    return bytes([number]) * 100_000


@ct.electron(retries=2)
def length(data: bytes) -> int:
    ran()
    return len(data) + data[0]


@ct.electron(retries=4)
def second_time(number: int) -> int:
    entry = ran()
    if journal.entries(journal.folder() / "journal").count(entry) == 1:
        raise RuntimeError("not the first time")
    return number


@ct.electron(retries=1)
def never(number: int) -> int:
    ran()
    raise ValueError(f"never {number}")


class Own(BaseExecutor):
    """An executor of a user's own, which has a process of its own."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return function(*args, **kwargs)


@ct.electron(executor=Own(), retries=2)
def elsewhere(number: int) -> int:
    ran()
    return number * 3


@ct.electron(retries=2)
@ct.lattice
def inner(start: int) -> Any:
    value = start
    for _ in range(6):
        value = step(value)
    return total([value, *(step(number) for number in range(4))])


@ct.electron(retries=2)
@ct.lattice
def outer(start: int) -> Any:
    return [inner(start), step(inner(start + 1))]


@ct.electron(retries=2)
@ct.lattice
def failing(start: int) -> Any:
    return never(step(start))


@ct.lattice
def good(fan: int) -> Any:
    value = 0
    for _ in range(20):
        value = step(value)
    squares = [slow(number) for number in range(fan)]
    big = table(20)
    parts = [step(big["odd"][number]) for number in range(10)]
    payloads = [length(large(number)) for number in range(5)]
    again = [second_time(number) for number in range(5)]
    children = [inner(number) for number in range(4)]
    hosted = [elsewhere(number) for number in range(3)]
    mapped = ct.map(step, range(5))
    rest = [total(squares), parts, payloads, again, children, hosted, mapped, outer(10)]
    return {"chain": value, "rest": rest, "odd": big["odd"], "after": step(value)}


@ct.lattice
def bad(fan: int) -> Any:
    fine = [fragile(number) for number in range(fan)]
    lost = [step(never(number)) for number in range(3)]
    return fine, lost, step(failing(7)), total(fine)


@ct.lattice
def stopped(fan: int) -> Any:
    return total([step(slow(number)) for number in range(fan)]), inner(1)


LATTICES: dict[str, Lattice] = {"good": good, "stopped": stopped, "bad": bad}
FAN = 30


def expected() -> Any:
    """What `good` gives, computed without qcov."""
    child = {start: start + 6 + sum(range(1, 5)) for start in range(12)}
    payloads = [100_000 + number for number in range(5)]
    parts = [2 * number + 2 for number in range(10)]
    outer_value = [child[10], child[11] + 1]
    rest = [
        sum(number * number for number in range(FAN)), parts, payloads, list(range(5)),
        [child[start] for start in range(4)], [0, 3, 6], list(range(1, 6)), outer_value,
    ]  # fmt: skip
    return {"chain": 20, "rest": rest, "odd": list(range(1, 20, 2)), "after": 21}


def patiently(ask: Callable[[int], str], size: int) -> str:
    """Ask again while the disk refuses, if that was ordered."""
    while faults.ordered():
        try:
            return ask(size)
        except StoreUnavailable as error:
            journal.note("refused", str(error))
    return ask(size)


def ready() -> None:
    """Let there be an engine, for what another one leaves."""
    points.client()
    connect(start=True)


def main() -> None:
    """Dispatch all, or go on with those that there are; cancel one, wait, and say what they are."""
    points.client()
    ids: dict[str, str] = {}
    for name, lattice in LATTICES.items():
        ids[name] = patiently(ct.dispatch(lattice, key=f"{name}-round"), FAN)
        journal.note("told", name, ids[name])
    if "QCOV_CHAOS_CANCEL" in os.environ and "cancelled" in ct.cancel(ids["stopped"]):
        journal.note("cancelled", ids["stopped"])
    results = {name: ct.get_result(id_, wait=True) for name, id_ in ids.items()}
    said = {name: str(result.status) for name, result in results.items()}
    if said["good"] == "COMPLETED":
        assert results["good"].result == expected()
    draft = journal.folder() / ".said"
    draft.write_text(json.dumps(said))
    os.replace(draft, journal.folder() / "said")  # noqa: PTH105
