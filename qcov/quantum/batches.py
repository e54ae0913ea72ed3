"""Batches of circuits: which circuits run together, and what an executor may answer."""

from __future__ import annotations

import numbers
import reprlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

from qcov.budget import Budget
from qcov.errors import CircuitError
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch, CircuitResult, ordinary
from qcov.quantum import interrupts
from qcov.quantum.futures import calling_back_at_once
from qcov.quantum.lanes import Round
from qcov.quantum.tickets import Job, Ticket


def wanted(jobs: Iterable[Job]) -> list[Job]:
    """Say that jobs start to run; those of them whose results somebody wants."""
    wanted: list[Job] = []
    for ticket, group in groupby(jobs, key=_ticket_of):
        own = list(group)
        if ticket is not None and ticket.begin(own):
            wanted += own
    return wanted


def _ticket_of(job: Job) -> Ticket | None:
    return job.ticket


def alike(jobs: Sequence[Job], *, in_order: bool = False) -> list[list[Job]]:
    """Group jobs that can run as one batch.

    Args:
        jobs: In the order in which they were asked for.
        in_order: Whether circuits with shots keep it, so that a seed's numbers go to the right one.
    """
    if len(jobs) <= 1:
        return [list(jobs)] if jobs else []
    if in_order and any(job.circuit.shots for job in jobs):
        return [list(group) for _, group in groupby(jobs, key=_how_it_runs)]
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(_how_it_runs(job), []).append(job)
    return list(groups.values())


def _how_it_runs(job: Job) -> Any:
    request = cast("Ticket", job.ticket).request
    how = (request.wires, request.mcm_method, request.postselect_mode, _budgets_of(job))
    return how, job.circuit.shots, adapter.measures_midway(job.circuit)


def _budgets_of(job: Job) -> tuple[Budget, ...]:
    request = cast("Ticket", job.ticket).request
    if request.executor is job.executor:  # nearly always
        return request.budgets
    return request.budgets + request.executor.budgets_for(job.executor)


def cut(groups: Iterable[list[Job]], size: int) -> list[list[Job]]:
    """Make groups no larger than `size`."""
    return [group[at : at + size] for group in groups for at in range(0, len(group), size)]


def split_by_ticket(round_: Round, jobs: Sequence[Job]) -> None:
    """Let each request run by itself: one of them may have spoilt the batch for the others."""
    groups: dict[int, list[Job]] = {}
    for job in jobs:
        groups.setdefault(id(job.ticket), []).append(job)
    round_.groups.extendleft(reversed(groups.values()))


def batch_of(jobs: Sequence[Job]) -> CircuitBatch:
    """What an executor is given for jobs that are alike."""
    request = cast("Ticket", jobs[0].ticket).request
    return CircuitBatch(
        circuits=tuple([job.circuit for job in jobs]),
        wires=request.wires,
        mcm_method=request.mcm_method,
        postselect_mode=request.postselect_mode,
        budgets=_budgets_of(jobs[0]),
        others=len(request.executor.leaves()) > 1,
    )


def run_batch(executor: BaseQExecutor, batch: CircuitBatch) -> Sequence[Any]:
    """Run a batch; raises `CircuitError` where the answer is not a result for each circuit."""
    with calling_back_at_once(), interrupts.allowed():
        outcomes: Any = executor.run_batch(batch)
    if not _is_list_like(outcomes):
        got = f"{type(outcomes).__name__}, not a list of results"
    elif len(outcomes) != len(batch.circuits):
        got = f"{len(outcomes)} results for {len(batch.circuits)} circuits"
    else:
        if need_a_look(outcomes):
            return [_sound(executor, outcome) for outcome in outcomes]
        return outcomes
    raise CircuitError(executor=executor.name, reason=f"its run_batch gave {got}")


def _is_list_like(value: object) -> bool:
    if type(value) in (list, tuple):
        return True
    if isinstance(value, str | bytes | Mapping):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")  # arrays too


def _sound(executor: BaseQExecutor, outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        return ordinary(executor, outcome)
    value = outcome.value if isinstance(outcome, CircuitResult) else outcome
    if not isinstance(value, BaseException) and not _is_a_value(cast("type[Any]", type(value))):
        reason = f"its run_batch gave {_brief(value)} for it"
        error = CircuitError(executor=executor.name, reason=reason)
        return replace(outcome, value=error) if isinstance(outcome, CircuitResult) else error
    return outcome


def _brief(value: object) -> str:
    return repr(value) if value is None else f"{reprlib.repr(value)}, which is no result,"


def interrupted(executor: BaseQExecutor, error: BaseException) -> CircuitError:
    """What circuits get that ran when the user pressed Ctrl-C."""
    interrupted = CircuitError(executor=executor.name, reason="it was interrupted")
    interrupted.__cause__ = error
    return interrupted


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is the user's Ctrl-C, which ends the program."""
    main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and main


def need_a_look(outcomes: Sequence[Any]) -> bool:
    """Whether something among the outcomes is not simply a value."""
    kinds = cast("set[type[Any]]", set(map(type, outcomes)))
    return not all(map(_is_a_value, kinds))


def _is_a_value(kind: type[Any]) -> bool:
    """Whether objects of this type can be what circuits give: numbers, arrays, containers."""
    if issubclass(kind, _NO_VALUES):
        return False
    return issubclass(kind, _VALUES) or any(hasattr(kind, name) for name in _ARRAYS_HAVE)


_ARRAYS_HAVE = ("shape", "__array__")
_VALUES = (numbers.Number, list, tuple, dict)
_NO_VALUES = (BaseException, CircuitResult, str, bytes)  #: NumPy's text has a shape
