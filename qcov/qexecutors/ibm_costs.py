"""What jobs at IBM Quantum cost, and what IBM takes in one job.

Part of the adapter around IBM's SDK: only what starts with `ibm_` imports it.
"""

# pyright: basic

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qcov.budget import Unit
from qcov.qexecutors.prices import Price, price_of
from qcov.qexecutors.provider import Amounts, Limits, Program
from qcov.qexecutors.qiskit_fitting import Fitted

PROVIDER = "IBM Quantum"  #: in tables of prices
#: Of a Sampler's job: https://quantum.cloud.ibm.com/docs/guides/job-limits (read 2026-11).
_MAX_EXECUTIONS = 10_000_000
_MAX_BYTES = 25_000_000  #: uploads of 33 MB were cut off: qiskit-ibm-runtime issue 497
_PENDING_OF_FREE_PLAN = 3
_BYTES_OF_A_GATE, _BYTES_OF_A_CIRCUIT, _BYTES_OF_A_NUMBER = 60, 3000, 8
#: Seconds of a job besides its circuits, and how much more than expected it may take:
#: https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time has 4.1 s for a first example.
_OVERHEAD, _MARGIN = 4.0, 1.5
_REP_DELAY = 250e-6  #: seconds between two shots, where a backend does not say
_OF_A_LAYER, _OF_A_READOUT = 1e-7, 4e-6  #: seconds
#: How much longer mitigation by each resilience level takes, about.
_BY_RESILIENCE = (1, 2, 8)


def seconds_of_job(programs: Sequence[Program], backend: Any, resilience: int) -> int:
    """The seconds on the QPU that a job takes at most, as far as can be told."""
    known = [program.payload for program in programs if program.payload is not None]
    seconds = _OVERHEAD + sum(_seconds_of(program, backend) for program in known)
    return math.ceil(_MARGIN * _BY_RESILIENCE[resilience] * seconds)


def _seconds_of(program: Fitted, backend: Any) -> float:
    delay = getattr(backend, "default_rep_delay", None) or _REP_DELAY
    one = program.circuit.depth() * _OF_A_LAYER + _OF_A_READOUT
    terms = sum(len(terms) for terms in program.pub.observables) or 1
    return program.pub.shots * terms * (delay + one)


def price_on(plan: Mapping[str, Any]) -> Price | None:
    """What a second costs on the plan of an instance; None if no table has it."""
    return price_of(PROVIDER, str(plan.get("plan", "")))


def used_by(price: Price | None, seconds: float | None, shots: int | None = None) -> Amounts | None:
    """What a job has used, by unit; shots are left out where nobody knows them any more.

    None if IBM does not say how long it took: then its estimate counts.
    """
    if seconds is None:
        return None
    if not seconds and shots is None:
        return {}  # it never ran
    known = {} if shots is None else {Unit.SHOTS: float(shots)}
    return {Unit.TASKS: 1.0, **known, **charged(price, seconds)}


def shots_of(programs: Sequence[Program]) -> int | None:
    """The shots of a job; None if not all of its programs are known any more."""
    shots = [program.shots for program in programs]
    return None if None in shots else sum(one or 0 for one in shots)


def charged(price: Price | None, seconds: float) -> dict[str, float]:
    """What is charged for a job that takes so many seconds; dollars only where there is a price."""
    amounts: dict[str, float] = {Unit.QPU_SECONDS: float(seconds)}
    if price is not None:
        amounts[Unit.USD] = price.usd(tasks=1, seconds=seconds)
    return amounts


def size_of(program: Fitted) -> int:
    """The bytes of a program, about."""
    gates, numbers = len(program.circuit.data), len(program.pub.values)
    return _BYTES_OF_A_CIRCUIT + _BYTES_OF_A_GATE * gates + _BYTES_OF_A_NUMBER * numbers


def limits_of(*, free: bool, together: bool, most_jobs: int | None, shots: int) -> Limits:
    """What IBM takes.

    Args:
        free: Whether the plan is the free one.
        together: Whether a job may have several circuits.
        most_jobs: How many jobs may wait, by the executor.
        shots: The most that a program has.
    """
    pending = [most_jobs, _PENDING_OF_FREE_PLAN if free else None]
    return Limits(
        programs=max(1, _MAX_EXECUTIONS // shots) if together else 1,
        size=_MAX_BYTES,
        pending=min((one for one in pending if one is not None), default=None),
    )
