"""The examples run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qcov as ct

pytestmark = [pytest.mark.process, pytest.mark.slow]

_EXAMPLE = Path(__file__).parents[2] / "examples" / "h2_dissociation.py"
_NUMBERS = re.compile(r"│ +(\d\.\d+) │ +(-\d+\.\d+) │ +(-\d+\.\d+) │ +(-?\d+\.\d+) │")


def _command(picture: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(_EXAMPLE), "--output", str(picture), *arguments]


def _run(picture: Path, *arguments: str) -> str:
    return subprocess.run(
        _command(picture, *arguments), check=True, capture_output=True, text=True
    ).stdout


def _rows(printed: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, row)) for row in _NUMBERS.findall(printed)]


def test_the_curve_of_hydrogen_is_exact_to_a_millihartree(tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"

    printed = _run(picture, "--bonds", "0.5,0.735")

    rows = _rows(printed)
    assert [row[0] for row in rows] == [0.5, 0.735]
    assert all(abs(row[3]) < 1 for row in rows)
    # the ground state at equilibrium in this basis, Szabo and Ostlund, Modern Quantum Chemistry
    assert rows[1][2] == pytest.approx(-1.1373, abs=1e-4)
    assert re.search(r"\d+ circuits ran on Simulator\(lightning.qubit\)", printed)
    assert re.search(r"\d+ circuits ran on Simulator\(default.qubit\)", printed)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_another_molecule_on_one_executor(tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    arguments = ("--molecule", "HeH+", "--bonds", "0.8", "--executors", "default.qubit")

    printed = _run(picture, *arguments)

    assert [abs(row[3]) < 1 for row in _rows(printed)] == [True]
    assert "lightning" not in printed
    told = json.loads(_run(picture, *arguments, "--json"))  # shows the same dispatch
    (point,) = told["curve"]
    assert point["bond"] == 0.8
    assert f"{point['vqe']:.6f}" == f"{_rows(printed)[0][1]:.6f}"
    assert [row["device"] for row in told["circuits"]] == ["default.qubit"]
    assert f"The curve is in {picture}.\n" in printed
    again = _run(picture, *arguments)
    assert f"The curve is in {picture} (it replaces the file that was there).\n" in again


def test_ctrl_c_ends_quietly_and_says_what_goes_on(
    tmp_path: Path, interruptible: None, data_folder: Path
) -> None:
    many = ",".join(f"{0.5 + step / 100:.2f}" for step in range(100))
    command = [sys.executable, "-m", "qcov", "demo", "--bonds", many]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        dispatch_id = program.stdout.readline().split()[-1]
        program.send_signal(signal.SIGINT)
        _, said = program.communicate()

    assert program.returncode == 130
    assert said == (
        f"The dispatch goes on: `qcov show {dispatch_id}` shows it, "
        "and the same command follows it again.\n"
    )
    assert ct.get_result(dispatch_id, status_only=True) == ct.status.RUNNING
    ct.cancel(dispatch_id)


def test_without_matplotlib_there_is_a_curve_and_no_picture(tmp_path: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import qcov.cli; qcov.cli.main()"
    command = [sys.executable, "-c", code, "demo", "--bonds", "0.735"]
    ran = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)

    assert len(_rows(ran.stdout)) == 1
    assert "no picture without matplotlib" in ran.stdout


def test_its_help_names_the_script() -> None:
    command = [sys.executable, str(_EXAMPLE), "--help"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)

    assert ran.stdout.startswith("usage: h2_dissociation.py ")


def test_killed_midway_the_same_command_goes_on(tmp_path: Path, data_folder: Path) -> None:
    picture = tmp_path / "curve.png"
    arguments = ("--bonds", "0.5,0.7,0.9")
    with subprocess.Popen(
        _command(picture, *arguments), stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        dispatch_id = first.stdout.readline().split()[-1]
        for state in ct.watch(dispatch_id):
            if state.done >= 2:
                break
        first.kill()
    os.kill(_engine(data_folder), signal.SIGKILL)
    kept = dict(_finished(data_folder))
    assert kept

    printed = _run(picture, *arguments)

    assert f"dispatch {dispatch_id}" in printed
    assert len(_rows(printed)) == 3
    assert kept.items() <= dict(_finished(data_folder)).items()  # none of them ran again


def _engine(folder: Path) -> int:
    from qcov.classical.engine.client import announcement

    about = announcement(folder)
    assert about is not None
    return int(about["pid"])


def _finished(folder: Path) -> Iterator[tuple[tuple[str, int], float]]:
    """The electrons that have completed, and when."""
    connection = sqlite3.connect(folder / "qcov.sqlite")
    query = (
        "SELECT dispatch_id, node_id, ended FROM nodes "
        "WHERE status = 'COMPLETED' AND kind = 'electron'"
    )
    for dispatch_id, node_id, ended in connection.execute(query):
        yield (dispatch_id, node_id), ended
    connection.close()
