"""What `qcov doctor` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from qcov.errors import QcovError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  #: something may go wrong, or slower
    PROBLEM = "problem"  #: something does not work


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    level: Level
    said: str
    advice: str = ""  #: what to do


Check = Callable[[], Iterable[Finding]]


def ok(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(about=about, level=Level.OK, said=said)


def warning(about: str, said: str, advice: str = "") -> Finding:
    """Something may go wrong."""
    return Finding(about=about, level=Level.WARNING, said=said, advice=advice)


def problem(about: str, said: str, advice: str = "") -> Finding:
    """Something does not work."""
    return Finding(about=about, level=Level.PROBLEM, said=said, advice=advice)


def findings(about: str, check: Check) -> list[Finding]:
    """What a check finds; one that breaks off is a problem itself, and the others go on."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except QcovError as error:
        found.append(problem(about, str(error)))
    except Exception as error:  # noqa: BLE001  # a sick machine breaks in any way
        found.append(problem(about, f"it could not be looked at: {type(error).__name__}: {error}"))
    return found
