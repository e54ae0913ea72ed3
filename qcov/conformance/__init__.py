"""Whether an executor of circuits does what qcov expects of it: a suite for those who write one.

    from qcov.conformance import check_executor

    def test_my_executor():
        report = check_executor(MyExecutor())
        assert report.passed, report

On the command line it is `qcov executor-test module:Class`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from qcov.qexecutors.base import BaseQExecutor

if TYPE_CHECKING:
    from qcov.conformance.subject import Subject

__all__ = ["CheckResult", "Outcome", "Report", "check_executor"]


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check ended, and why."""

    check: str
    promise: str  #: what the executor must do
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How all checks ended."""

    executor: str
    shots: int | None  #: that circuits were run with; None if the executor runs analytic ones
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.outcome is not Outcome.FAILED for result in self.results)

    def __str__(self) -> str:
        lines = [f"{one.outcome:8}{one.check:20}{one.reason}".rstrip() for one in self.results]
        return "\n".join([f"{self.executor}:", *lines])


def check_executor(
    executor: BaseQExecutor,
    *,
    tolerance: float = 1e-5,
    progress: Callable[[CheckResult], None] | None = None,
) -> Report:
    """Run all checks on an executor.

    Circuits are analytic where the executor can run such; otherwise they have 4,000 shots, and
    values may be off by six standard deviations.

    Args:
        executor: The executor. It runs about a thousand small circuits.
        tolerance: How far values may be off besides; noisy backends need more.
        progress: Is called with each result.

    Example:
        >>> from qcov.qexecutors.simulator import Simulator
        >>> check_executor(Simulator("lightning.qubit")).passed
        True
    """
    from qcov.conformance.checks import CHECKS
    from qcov.conformance.subject import Failed, Skipped, Subject

    shots = _shots_for(executor)
    subject = Subject(executor=executor, shots=shots, tolerance=tolerance)

    def results() -> Iterator[CheckResult]:
        for check in CHECKS:
            outcome, reason = Outcome.PASSED, ""
            try:
                check(subject)
            except Skipped as skipped:
                outcome, reason = Outcome.SKIPPED, str(skipped)
            except Failed as failed:
                outcome, reason = Outcome.FAILED, str(failed)
            except Exception as error:  # noqa: BLE001  # whatever an executor raises is its failure
                outcome, reason = Outcome.FAILED, f"{type(error).__name__}: {error}"
            result = _result(check, outcome, reason)
            if progress is not None:
                progress(result)
            yield result

    return Report(executor=executor.name, shots=shots, results=tuple(results()))


def _result(check: Callable[[Subject], None], outcome: Outcome, reason: str) -> CheckResult:
    promise = (check.__doc__ or "").partition("\n")[0].rstrip(".")
    return CheckResult(
        check=check.__name__.replace("_", "-"), promise=promise, outcome=outcome, reason=reason
    )


def _shots_for(executor: BaseQExecutor) -> int | None:
    """The shots to ask for: none if the executor says, or shows, that it does without."""
    from qcov.conformance.pennylane_circuits import script_of
    from qcov.conformance.reference import CASES
    from qcov.conformance.subject import SHOTS, Failed, Subject

    if executor.shots is None or executor.capabilities.analytic:
        return None
    if executor.shots or executor.capabilities.analytic is False:
        return executor.shots or SHOTS
    subject = Subject(executor=executor, shots=None)
    try:
        (value,) = subject.run([script_of(CASES[1], None)], 1)
    except Failed:
        return None
    except Exception:  # noqa: BLE001  # every executor refuses in a way of its own
        value = None
    if not (value is None or isinstance(value, Exception)):
        return None
    return SHOTS
