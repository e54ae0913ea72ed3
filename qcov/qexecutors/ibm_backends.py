"""Backends of IBM Quantum: which one runs circuits, and what fits circuits to it.

Part of the adapter around IBM's SDK: only what starts with `ibm_` imports it.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qiskit.providers.exceptions import QiskitBackendNotFoundError

from qcov.errors import CircuitRejected, InvalidSetting, suggest
from qcov.qexecutors.ibm_account import id_of, plan_of
from qcov.qexecutors.qiskit_fitting import Fitting
from qcov.qexecutors.qiskit_options import PrimitiveOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """How jobs are made.

    Args:
        executor: Who asks.
        options: Of the primitives.
        level: Of optimisation.
        together: Whether a job may have several circuits.
        most_jobs: How many jobs may wait at once; None for what the plan allows.
        max_time: Seconds that a job may take on the QPU.
    """

    executor: str
    options: PrimitiveOptions = field(default_factory=PrimitiveOptions)
    level: int = 3
    together: bool = True
    most_jobs: int | None = None
    max_time: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A backend, who pays for it, and what fits circuits to it."""

    backend: Any
    plan: Mapping[str, Any]
    account: str
    fitting: Fitting

    @property
    def told(self) -> Mapping[str, Any]:
        """What is worth remembering of it."""
        return {name: value for name, value in self.plan.items() if name != "crn"}


def choose(service: Any, name: str | None, qubits: int, settings: JobSettings) -> Chosen:
    """The backend with a name, or the least busy one with enough qubits.

    Raises:
        InvalidSetting: The account has no backend of this name.
        CircuitRejected: None that runs now has enough qubits.
    """
    if name:
        backend = _named(service, name, settings.executor)
    else:
        backend = _least_busy(service, qubits, settings.executor)
    plan = plan_of(service)
    level, passes = settings.level, settings.options.passes
    return Chosen(
        backend=backend,
        plan=plan,
        account=id_of(plan["crn"]),
        fitting=Fitting(backend=backend, level=level, passes=passes),
    )


def _named(service: Any, name: str, executor: str) -> Any:
    try:
        return service.backend(name)
    except QiskitBackendNotFoundError as error:
        known = [one.name for one in service.backends()]
        reason = f"is no backend of this account. {suggest(name, known)}"
        raise InvalidSetting(
            executor=executor, setting=f"backend={name!r}", reason=reason
        ) from error


def _least_busy(service: Any, qubits: int, executor: str) -> Any:
    try:
        return service.least_busy(min_num_qubits=qubits)
    except QiskitBackendNotFoundError as error:
        reason = f"no backend that runs now has the {qubits} qubits that it needs"
        raise CircuitRejected(reason, executor=executor) from error
