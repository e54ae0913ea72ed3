"""Every benchmark that can be asked for is there."""

from __future__ import annotations

import importlib

import pytest

from qcov_bench.__main__ import _SUITES


@pytest.mark.parametrize("suite", _SUITES)
def test_a_suite_has_rows(suite: str) -> None:
    module = importlib.import_module(f"qcov_bench.{_SUITES[suite]}")
    assert callable(module.rows)
