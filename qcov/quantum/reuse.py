"""What a circuit's cache is asked before it runs, and given after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitResult
from qcov.quantum.cache import HIT, CircuitCache, not_cached
from qcov.quantum.circuit_key import NotKeyed
from qcov.quantum.recording import CircuitRun
from qcov.quantum.tickets import Inquiry, Job, Request, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A circuit that need not run."""

    index: int
    circuit: Circuit
    executor: BaseQExecutor
    result: CircuitResult


def look_up(
    request: Request, index: int, circuit: Circuit, executor: BaseQExecutor
) -> Hit | Inquiry | None:
    """The result that the cache has, or what is to be told it later; None without a cache."""
    cache = request.caller.cache
    if cache is None:
        return None
    inquiry = _inquire(cache, request, circuit, executor)
    if inquiry.key is None:
        return inquiry
    try:
        result = cache.get(inquiry.key)
    except NotKeyed as reason:
        return Inquiry(executor=executor, said=not_cached(reason))
    if result is None:
        return inquiry
    return Hit(index=index, circuit=circuit, executor=executor, result=result)


def hand_out(ticket: Ticket, hits: Iterable[Hit], now: float) -> list[CircuitRun]:
    """Settle circuits with the results that the cache had; what is to be recorded of them."""
    runs: list[CircuitRun] = []
    for hit in hits:
        run = CircuitRun(
            caller=ticket.request.caller,
            context=ticket.context,
            circuit=hit.circuit,
            executor=hit.executor,
            outcome=hit.result,
            queued=ticket.queued,
            started=now,
            finished=now,
            share=0.0,
            diff_method=ticket.request.diff_method,
            cache=HIT,
        )
        runs.append(run)
        ticket.settle([(hit.index, hit.result.value)])
    return runs


def keep(
    executor: BaseQExecutor, jobs: Sequence[Job], outcomes: Sequence[Any]
) -> Mapping[int, str]:
    """Give caches the results of those jobs that asked one; what each says, by its place."""
    said: dict[int, str] = {}
    entries: dict[CircuitCache, list[tuple[int, bytes]]] = {}
    for index, job in enumerate(jobs):
        inquiry, ticket = job.inquiry, job.ticket
        if inquiry is None or ticket is None or ticket.request.caller.cache is None:
            continue
        cache = ticket.request.caller.cache
        if inquiry.executor is not executor:  # it was to run elsewhere, and failed there
            inquiry = _inquire(cache, ticket.request, job.circuit, executor)
        if inquiry.key is None:
            said[index] = inquiry.said
        elif not _failed(outcomes[index]):
            entries.setdefault(cache, []).append((index, inquiry.key))
    for cache, asked in entries.items():
        answers = cache.put([(key, outcomes[index]) for index, key in asked])
        said |= {index: answer for (index, _), answer in zip(asked, answers, strict=True)}
    return said


def _inquire(
    cache: CircuitCache, request: Request, circuit: Circuit, executor: BaseQExecutor
) -> Inquiry:
    how = (request.wires, request.mcm_method, request.postselect_mode)
    try:
        return Inquiry(executor=executor, key=cache.key(circuit, executor, *how))
    except NotKeyed as reason:
        return Inquiry(executor=executor, said=not_cached(reason))


def _failed(outcome: Any) -> bool:
    value = outcome.value if isinstance(outcome, CircuitResult) else outcome
    return isinstance(value, BaseException)
