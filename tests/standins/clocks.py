"""The time as jobs have it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qcov.qexecutors import job_run
from qcov.qexecutors.job_terms import SystemClock


def late_once(monkeypatch: pytest.MonkeyPatch, happened: Callable[[], object]) -> None:
    """Let an hour pass for jobs as soon as something has happened."""

    class Jumping(SystemClock):
        def now(self) -> float:
            return super().now() + (3600.0 if happened() else 0.0)

    monkeypatch.setattr(job_run, "SystemClock", Jumping)
