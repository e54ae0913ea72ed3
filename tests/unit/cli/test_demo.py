"""What `qcov demo` refuses, it refuses before anything is dispatched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Run


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--executors", "lihgtning.qubit", "Did you mean 'lightning.qubit'?"),
        ("--executors", "default.qubit,default.qutrit", "'default.qutrit' cannot be used: "),
        ("--executors", ",", "at least one is needed"),
        ("--bonds", "0.5,x", "'x' is not a number"),
        ("--bonds", "0.5,nan", "between 0.1 and 10 angstrom"),
        ("--bonds", "73.5", "between 0.1 and 10 angstrom"),
        ("--bonds", "-1", "between 0.1 and 10 angstrom"),
        ("--molecule", "h2", "choose from"),
        ("--output", "curve", "does not end in .png, .pdf or .svg"),
        ("--output", "nowhere/curve.png", "there is no folder 'nowhere'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    run: Run, data_folder: Path, option: str, value: str, said: str
) -> None:
    ran = run("demo", option, value)

    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith(f"qcov demo: error: argument {option}: ")
    assert said in ran.err
    assert not data_folder.exists()


def test_its_help_names_the_command_that_was_typed(run: Run) -> None:
    ran = run("demo", "--help")

    assert ran.code == 0
    assert ran.out.startswith("usage: qcov demo ")
    assert "the same NAME shows it again" in " ".join(ran.out.split())
