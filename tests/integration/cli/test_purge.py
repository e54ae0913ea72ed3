"""What `qcov purge` takes away, and what never."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import qcov as ct

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


@ct.lattice
def flow(x: int) -> int:
    return ct.electron(abs)(x)


@pytest.fixture
def used(run: Run, data_folder: Path, tmp_path: Path) -> str:
    """A dispatch in a data folder that has other things too; its id."""
    dispatch_id = ct.dispatch_sync(flow)(-1).dispatch_id
    run("config", "sdk.log_level", "info")
    (data_folder / "mine.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (data_folder / "environments").symlink_to(tmp_path / "elsewhere")
    return dispatch_id


@pytest.mark.process
def test_a_soft_purge_keeps_dispatches(
    run: Run, used: str, data_folder: Path, tmp_path: Path
) -> None:
    ran = run("purge", "-y")

    assert (ran.code, run("status").out) == (0, "qcov is stopped.\n")
    assert not (tmp_path / "config" / "qcov.conf").exists()
    assert not (data_folder / "engine.log").exists()
    assert not (data_folder / "environments").is_symlink()
    assert (tmp_path / "elsewhere" / "mine.txt").exists()  # a link goes, not what it leads to
    assert ct.get_result(used).result == 1


@pytest.mark.process
def test_a_hard_purge_removes_all_but_what_is_not_ours(
    run: Run, used: str, data_folder: Path, tmp_path: Path
) -> None:
    ran = run("purge", "--hard", "--yes", "--json")

    assert str(data_folder / "qcov.sqlite") in json.loads(ran.out)["removed"]
    assert [path.name for path in data_folder.iterdir()] == ["mine.txt"]
    assert (tmp_path / "elsewhere" / "mine.txt").exists()


@pytest.mark.process
@pytest.mark.parametrize("flags", [(), ("-H",)])
def test_without_an_answer_nothing_goes(used: str, data_folder: Path, flags: tuple[str]) -> None:
    before = sorted(path.name for path in data_folder.iterdir())
    command = [sys.executable, "-m", "qcov", "purge", *flags]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    assert ran.returncode == 1
    assert str(data_folder / "engine.log") in ran.stdout
    assert (str(data_folder / "qcov.sqlite\n") in ran.stdout) == bool(flags)
    assert "The engine is stopped" in ran.stdout
    assert sorted(path.name for path in data_folder.iterdir()) == before


def test_json_cannot_ask(run: Run) -> None:
    assert run("purge", "--json").code == 2


def test_an_empty_folder_goes_too(run: Run, data_folder: Path) -> None:
    data_folder.mkdir()

    assert "Nothing was there" in run("purge", "-y").out
    assert run("purge", "-yH").code == 0
    assert not data_folder.exists()


def test_what_settings_have_put_elsewhere_is_named(
    run: Run, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "payloads").mkdir()
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_BASE_DIR", str(tmp_path / "payloads"))
    monkeypatch.setenv("QCOV_WORKFLOW_DATA_DB_URL", "postgresql://me:secret@db/qcov")

    ran = run("purge", "-H", "-y")

    assert (tmp_path / "payloads").is_dir()
    assert f"left alone: the payloads in {tmp_path / 'payloads'}" in ran.err
    assert "postgresql://me:***@db/qcov" in ran.err
    assert "secret" not in ran.err
