"""The executor under test, and how its answers are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcov.conformance.pennylane_circuits import script_of
from qcov.conformance.reference import Case, value_of
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, CircuitResult

_EXACT = 1e-5  #: of simulators, single precision included
_SIGMAS = 6  #: chance lets a right executor fail less than once in 100 million comparisons
SHOTS = 4000  #: of circuits that need some


class Failed(Exception):
    """The executor does not do what it must."""


class Skipped(Exception):
    """The executor says that it cannot do this, or it does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An executor and how it is run.

    Args:
        executor: The executor.
        shots: Of circuits that need none by themselves: None if the executor runs analytic ones.
        tolerance: How far values may be off besides what shots explain.
    """

    executor: BaseQExecutor
    shots: int | None
    tolerance: float = _EXACT

    def run(self, circuits: Sequence[Circuit], wires: int | tuple[str, ...]) -> list[Any]:
        """Run circuits as one batch, as qcov does; their values, or exceptions in their place."""
        outcomes: Any = self.executor.run_batch(CircuitBatch(circuits=tuple(circuits), wires=wires))
        kind: str = type(outcomes).__name__
        if kind in ("str", "dict") or not hasattr(outcomes, "__len__"):
            raise Failed(f"run_batch returns {kind}, not a list of results")
        if len(outcomes) != len(circuits):
            raise Failed(f"run_batch gives {len(outcomes)} results for {len(circuits)} circuits")
        return [one.value if isinstance(one, CircuitResult) else one for one in outcomes]

    def run_cases(self, cases: Sequence[Case]) -> list[Any]:
        """Run circuits of the reference."""
        scripts = [script_of(case, self.shots) for case in cases]
        return self.run(scripts, max(case.wires for case in cases))

    def check(self, what: str, got: Any, expected: Any, kind: str = "expval") -> None:
        """Fail unless a value is as expected."""
        if isinstance(got, BaseException):
            raise Failed(f"{what}: {type(got).__name__}: {got}") from got
        try:
            numbers = np.asarray(got, dtype=float)
        except (TypeError, ValueError):
            raise Failed(f"{what}: {got!r} is no number") from None
        expected = np.asarray(expected)
        if numbers.shape != expected.shape:
            raise Failed(f"{what}: the shape is {numbers.shape}, not {expected.shape}")
        off = float(np.max(np.abs(numbers - expected), initial=0.0))
        if not off <= self._allowed(kind):
            raise Failed(f"{what}: {_brief(numbers)}, not {_brief(expected)}")

    def check_cases(self, cases: Sequence[Case], values: Sequence[Any]) -> None:
        """Fail unless values are those of the reference."""
        for case, value in zip(cases, values, strict=True):
            self.check(case.label, value, value_of(case), case.kind)

    def _allowed(self, kind: str) -> float:
        if self.shots is None:
            return self.tolerance
        spread = {"probs": 0.5, "var": 2.0}.get(kind, 1.0)
        return self.tolerance + _SIGMAS * spread / self.shots**0.5


def _brief(values: Any) -> str:
    return np.array2string(np.asarray(values), precision=6, threshold=8)
