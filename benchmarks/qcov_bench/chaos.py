"""A provider that does everything wrong, and processes that are killed: is anything paid twice?

Circuits whose values are known run through a `FakeQPU` that refuses, breaks, hangs up, fails jobs,
swaps, doubles and cuts results and goes offline, while workers and the engine are killed. Every
value must be right and in its place, or an explicit error; no circuit may be paid for twice, and no
budget exceeded.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pennylane as qml

import qcov as ct
from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.server import FakeServer
from qcov_bench.engines import engine_pid, own_engine, wait_until_gone
from qcov_bench.rows import Row

_QUBITS, _SHOTS = 12, 10
_PRICE = 0.01  # US dollars a circuit, whatever job it is in
_CIRCUITS, _PROCESSES = 1000, 8
_OFFLINE_FOR, _OFFLINE_EVERY = 0.5, 3.0  # seconds

#: What goes wrong with each request, job or result, by probability.
TROUBLE = {
    "busy": 0.05,
    "broken": 0.05,
    "drop": 0.05,
    "drop_after": 0.05,
    "fail": 0.1,
    "swap": 0.3,
    "duplicate": 0.2,
    "truncate": 0.2,
}


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of it.

    Args:
        asked: Circuits.
        right: Of these, with the right value in the right place.
        errors: Explicit errors, by class, and how often each.
        examples: What one of each class says.
        wrong: Values that are not those of their circuits.
        paid: Circuits that the provider was paid for.
        paid_once: Different ones among them.
        usd: What it was paid.
        most_usd: The most that it had been paid at any time it was asked.
        budget: What it could be paid.
        kills: Processes that were killed.
        seconds: That all of it took.
    """

    asked: int
    right: int = 0
    errors: dict[str, int] = field(default_factory=dict[str, int])
    examples: dict[str, str] = field(default_factory=dict[str, str])
    wrong: int = 0
    paid: int = 0
    paid_once: int = 0
    usd: float = 0.0
    most_usd: float = 0.0
    budget: float | None = None
    kills: int = 0
    seconds: float = 0.0

    @property
    def violations(self) -> list[str]:
        """What must not have happened."""
        found: list[str] = []
        if self.wrong:
            found.append(f"{self.wrong} wrong values")
        if self.right + self.wrong + sum(self.errors.values()) != self.asked:
            found.append("circuits without any end")
        if self.paid != self.paid_once:
            found.append(f"{self.paid - self.paid_once} circuits paid for twice")
        if self.paid > self.asked:
            found.append(f"{self.paid} circuits paid for, of {self.asked}")
        if self.budget is not None and self.most_usd > self.budget + 1e-9:
            found.append(f"${self.most_usd:.4f} paid of a budget of ${self.budget:.4f}")
        return found


@ct.electron(retries=50)
def portion(numbers: Sequence[int], url: str, budget: Any, pids: str) -> list[Any]:
    """The values of circuits that prepare these numbers, or what their errors say."""
    with Path(pids).open("a") as file:
        file.write(f"{os.getpid()}\n")
    executor = ct.executor.FakeQPU(
        url=url, budget=budget, poll_interval=0.1, patience=30.0,
        retries=20, retry_delay=0.05, max_batch=10, max_jobs=3, break_after=0,
    )  # fmt: skip
    circuit = ct.qelectron(
        qml.set_shots(qml.QNode(_prepared, qml.device("default.qubit", wires=_QUBITS)), _SHOTS),
        executors=executor,
    )
    futures = [circuit.run_later(number) for number in numbers]
    return [_outcome(future) for future in futures]


def _prepared(number: int) -> Any:
    qml.PhaseShift(number, wires=0)  # so that no two circuits are the same
    for wire in range(_QUBITS):
        if number >> wire & 1:
            qml.X(wire)
    return qml.counts(wires=range(_QUBITS))


def _outcome(future: Any) -> Any:
    error = future.exception()
    if error is not None:
        return f"{type(error).__name__}: {error}"
    ((bits, shots),) = future.result().items()
    return int(bits[::-1], 2) if shots == _SHOTS else -1


@ct.lattice
def all_portions(portions: Sequence[Sequence[int]], url: str, budget: Any, pids: str) -> list[Any]:
    """All circuits, a portion in each electron."""
    return [portion(numbers, url, budget, pids) for numbers in portions]


def chaos(
    circuits: int,
    *,
    processes: int,
    kills: int,
    seed: int,
    idempotent: bool = True,
    usd: float | None = None,
) -> Report:
    """Let everything go wrong.

    Args:
        circuits: How many.
        processes: In how many electrons, at the same time.
        kills: How many workers are killed; the engine is killed once as well.
        seed: Of what goes wrong.
        idempotent: Whether the provider knows tokens again.
        usd: A budget.
    """
    random.seed(seed)
    started = time.monotonic()
    conditions = Conditions(
        **TROUBLE,  # pyright: ignore[reportArgumentType]
        seed=seed,
        idempotent=idempotent,
        queue_time=0.2,
        usd_per_task=0.0,
        usd_per_shot=_PRICE / _SHOTS,
        max_pending=20,
    )
    os.environ["QCOV_ENGINE_WORKERS"] = str(processes)
    server = FakeServer(conditions)
    report = Report(asked=circuits, budget=usd)
    budget = None if usd is None else ct.Budget(usd=usd)
    share = -(-circuits // processes)
    portions = [range(at, min(at + share, circuits)) for at in range(0, circuits, share)]
    with own_engine() as folder:
        pids = folder / "pids"
        pids.touch()
        dispatch_id = ct.dispatch(all_portions)(portions, server.url, budget, str(pids))
        with _troubles(server, pids, folder, kills, report):
            result = ct.get_result(dispatch_id, wait=True)
        if result.status != "COMPLETED":
            raise RuntimeError(f"the dispatch is {result.status}: {result.error}")
        _count(report, circuits, [value for part in result.result for value in part])
        ledger = server.jobs.ledger()
    server.close()
    report.paid, report.paid_once = ledger["programs"], ledger["different_programs"]
    report.usd = ledger["usd"]
    report.most_usd = max(report.most_usd, report.usd)
    report.seconds = time.monotonic() - started
    return report


def _count(report: Report, circuits: int, values: Sequence[Any]) -> None:
    for number, value in zip(range(circuits), values, strict=True):
        if value == number:
            report.right += 1
        elif isinstance(value, str):
            name = value.partition(":")[0]
            report.errors[name] = report.errors.get(name, 0) + 1
            report.examples.setdefault(name, value)
        else:
            report.wrong += 1


@contextmanager
def _troubles(
    server: FakeServer, pids: Path, folder: Path, kills: int, report: Report
) -> Iterator[None]:
    over = threading.Event()

    def trouble() -> None:
        next_offline = time.monotonic() + _OFFLINE_EVERY
        while not over.wait(random.uniform(0.2, 0.8)):
            report.most_usd = max(report.most_usd, server.jobs.ledger()["usd"])
            if report.kills < kills:
                report.kills += _kill_one(pids)
            if report.kills == kills // 2 and kills:
                report.kills += _kill_engine(folder)
            if time.monotonic() > next_offline:
                server.jobs.set_offline(True)
                over.wait(_OFFLINE_FOR)
                server.jobs.set_offline(False)
                next_offline = time.monotonic() + _OFFLINE_EVERY

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _kill_one(pids: Path) -> int:
    known = pids.read_text().split()
    if not known:
        return 0
    with suppress(ProcessLookupError):
        os.kill(int(random.choice(known[-_PROCESSES:])), signal.SIGKILL)
        return 1
    return 0


def _kill_engine(folder: Path) -> int:
    with suppress(OSError, ValueError, KeyError):
        os.kill(engine_pid(), signal.SIGKILL)
        wait_until_gone(folder)
        return 1
    return 0


def rows() -> Iterator[Row]:
    """1,000 circuits: with a provider that knows tokens, with one that does not, on a budget."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("provider that knows tokens", {}),
        ("provider that forgets tokens", {"idempotent": False}),
        ("on a budget for 600 of them", {"usd": 600 * _PRICE}),
    ]
    for seed, (name, settings) in enumerate(kinds):
        report = chaos(_CIRCUITS, processes=_PROCESSES, kills=20, seed=seed, **settings)
        told = ", ".join(report.violations) or "none"
        errors = ", ".join(f"{count} {error}" for error, count in sorted(report.errors.items()))
        paid = f"paid {report.paid} (${report.usd:.2f})"
        what = f"{report.right} right, {paid}, {report.kills} kills, errors: {errors or 'none'}"
        yield Row(
            name=f"{_CIRCUITS:,} circuits, {name}: violations ({told}; {what})",
            ours=len(report.violations),
            theirs=None,
            limit=0,
            unit="violations",
        )
