"""Budgets: what circuits may cost, reserved before a job is submitted and settled after it."""

from __future__ import annotations

import math
import numbers
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from qcov.errors import BudgetExceeded, InvalidSetting
from qcov.job_entries import Shortfall
from qcov.journal import Journal


class Unit(StrEnum):
    """What costs are counted in."""

    USD = "USD"  #: US dollars
    QPU_SECONDS = "QPU seconds"  #: on the quantum computer, as IBM counts them
    TASKS = "tasks"  #: what Amazon Braket charges for each
    SHOTS = "shots"


_FIELDS = {
    "usd": Unit.USD,
    "qpu_seconds": Unit.QPU_SECONDS,
    "tasks": Unit.TASKS,
    "shots": Unit.SHOTS,
}


class Budget(BaseModel):
    """What circuits may cost together, at most.

    Before a job is submitted, what it costs at most is reserved; once it is over, what it did cost
    takes the place of that. All processes of a user share what is left, and a crash loses nothing
    of it. What would cost more is refused with `BudgetExceeded`, and so is what has no known price.

    Args:
        usd: US dollars.
        qpu_seconds: Seconds on a quantum computer.
        tasks: Jobs that are charged one by one, as on Amazon Braket.
        shots: Shots.
        name: Budgets with the same name are one, in all programs of a user and for ever. Without a
            name, this one and its copies are one.

    Raises:
        InvalidSetting: No limit was given, or one is not a number, 0 or more.

    Example:
        >>> Budget(usd=5, shots=100_000)
        Budget(usd=5.0, shots=100000.0)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = None
    qpu_seconds: float | None = None
    tasks: float | None = None
    shots: float | None = None
    name: str | None = Field(default=None, min_length=1)
    id: str = Field(default_factory=lambda: secrets.token_hex(16))

    def __init__(self, *amounts: object, **settings: Any) -> None:
        if amounts:
            reason = f"is given without its unit: say usd={amounts[0]!r} or the like"
            raise InvalidSetting(executor="Budget", setting="a limit", reason=reason)
        known = type(self).model_fields.keys()
        for setting in settings.keys() - known:
            reason = f"is not a setting. Known: {', '.join(sorted(known - {'id'}))}."
            raise InvalidSetting(executor="Budget", setting=repr(setting), reason=reason)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _refused(error) from None
        if not self.limits:
            reason = f"one of {', '.join(_FIELDS)}"
            raise InvalidSetting(
                executor="Budget", setting="a limit", reason=f"is needed: {reason}"
            )

    @field_validator(*_FIELDS, mode="before")
    @classmethod
    def _is_an_amount(cls, value: object, info: ValidationInfo) -> float | None:
        if value is None:
            return None
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            amount = float(value)
            if math.isfinite(amount) and amount >= 0:
                return amount
        reason = f"must be a number, 0 or more, not {value!r}"
        raise InvalidSetting(executor="Budget", setting=str(info.field_name), reason=reason)

    @property
    def limits(self) -> dict[str, float]:
        """What it allows, by unit."""
        values = ((unit, getattr(self, name)) for name, unit in _FIELDS.items())
        return {str(unit): value for unit, value in values if value is not None}

    @property
    def key(self) -> str:
        """By what it is known in all processes."""
        return self.id if self.name is None else f"name:{self.name}"

    @property
    def spent(self) -> dict[str, float]:
        """What was taken out of it, by unit: what jobs have cost, or may cost that still run."""
        spent = Journal().spent(self.key)
        return {unit: spent.get(unit, 0.0) for unit in self.limits}

    @property
    def left(self) -> dict[str, float]:
        """What is left of it, by unit."""
        spent = self.spent
        return {unit: limit - spent[unit] for unit, limit in self.limits.items()}

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in (*_FIELDS, "name")}
        given = (f"{name}={value!r}" for name, value in shown.items() if value is not None)
        return f"Budget({', '.join(given)})"

    __str__ = __repr__


def _refused(error: ValidationError) -> InvalidSetting:
    problem = error.errors()[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InvalidSetting):
        return cause
    setting = ".".join(map(str, problem["loc"]))
    reason = f"{problem['msg'].removeprefix('Input ')}, not {problem['input']!r}"
    return InvalidSetting(executor="Budget", setting=setting, reason=reason)


def allowances(budgets: Iterable[Budget]) -> Mapping[str, Mapping[str, float]]:
    """What budgets allow, by the names that the journal knows them by; of several, the least."""
    allowed: dict[str, dict[str, float]] = {}
    for budget in budgets:
        own = allowed.setdefault(budget.key, {})
        for unit, limit in budget.limits.items():
            own[unit] = min(limit, own.get(unit, limit))
    return allowed


def exceeded(executor: str, short: Shortfall, budgets: Iterable[Budget]) -> BudgetExceeded:
    """The error for a job that a budget does not allow."""
    named = [one for one in budgets if one.key == short.budget and short.unit in one.limits]
    budget = min(named, key=lambda one: one.limits[short.unit])
    if math.isnan(short.needs):
        needs = f"a number of {short.unit} that nobody can tell beforehand"
    else:
        needs = amount_text(short.unit, short.needs)
    left = amount_text(short.unit, max(0.0, short.left))
    return BudgetExceeded(executor=executor, budget=repr(budget), needs=needs, left=left)


def amount_text(unit: str, amount: float) -> str:
    """An amount as people read it.

    >>> amount_text("USD", 0.325), amount_text("shots", 1000.0), amount_text("tasks", 1.0)
    ('$0.325', '1000 shots', '1 task')
    """
    if unit == Unit.USD:
        return f"${amount:.6g}"
    return f"{amount:.6g} {unit_text(unit, amount)}"


def unit_text(unit: str, amount: float) -> str:
    """What an amount is of: the unit, without its plural where it is one.

    >>> unit_text("tasks", 1.0), unit_text("tasks", 2.0)
    ('task', 'tasks')
    """
    return unit.removesuffix("s") if amount == 1 else unit


# -- who pays ------------------------------------------------------------------------------------

_paying: list[Budget] = []


def paying() -> tuple[Budget, ...]:
    """The budgets that pay for what the electron that runs here asks for."""
    return tuple(_paying)


@contextmanager
def paid_from(budgets: Iterable[Budget]) -> Generator[None, None, None]:
    """Let budgets pay for all circuits that this process asks for meanwhile, in any thread.

    >>> with paid_from([Budget(usd=5, name="thesis")]):
    ...     paying()
    (Budget(usd=5.0, name='thesis'),)
    """
    own = list(budgets)
    _paying.extend(own)
    try:
        yield
    finally:
        for budget in own:  # others may have come and gone meanwhile
            _paying.remove(budget)
