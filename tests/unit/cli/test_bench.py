"""`qcov bench` is `python -m qcov_bench`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Run


def test_its_help_names_the_command_that_was_typed_and_the_suites(run: Run) -> None:
    ran = run("bench", "--help")

    assert ran.code == 0
    assert ran.out.startswith("usage: qcov bench ")
    assert "qelectrons, circuits, parallel, qiskit, engine, start," in ran.out


def test_a_suite_that_does_not_exist_is_refused(run: Run) -> None:
    ran = run("bench", "egnine")

    assert ran.code == 2
    assert "qcov bench: error: no suite egnine; there are " in ran.err


@pytest.mark.process
def test_programs_can_read_what_it_measured(run: Run) -> None:
    told = json.loads(run("bench", "start", "--json").out)

    (row,) = told["rows"]
    assert row["name"] == "import qcov"
    assert row["met"] is (row["ours"] <= row["limit"])
