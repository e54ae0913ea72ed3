"""Scripts in processes of their own, and what electrons leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import qcov as ct


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.process)


@dataclass(frozen=True)
class Script:
    """A program of a user's, in a folder of its own."""

    folder: Path
    name: str = "script.py"

    def write(self, code: str, name: str | None = None) -> Path:
        path = self.folder / (name or self.name)
        path.write_text(textwrap.dedent(code))
        return path

    def start(
        self, *args: str, python: str = sys.executable, **more: object
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, str(self.folder / self.name), *args],
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "cwd": self.folder,
                **more,
            },
        )

    def run(self, *args: str, **more: object) -> str:
        """What it prints; it must succeed."""
        process = self.start(*args, **more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out.strip()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    folder = tmp_path / "program"
    folder.mkdir()
    return Script(folder)


class Gate:
    """Electrons say that they have begun, and wait until the test lets them go on."""

    def __init__(self, folder: Path) -> None:
        self.begun, self.open = folder / "begun", folder / "open"
        for path in (self.begun, self.open):
            os.mkfifo(path)

    def pass_through(self, text: str = "") -> None:
        """In the electron: tell that it runs, then wait for the test."""
        with open(self.begun, "w", encoding="utf-8") as told:
            told.write(text)
        with open(self.open, encoding="utf-8") as waiting:
            waiting.read()

    def wait(self) -> str:
        """In the test: wait until an electron is there."""
        with open(self.begun, encoding="utf-8") as told:
            return told.read()

    def let_go(self) -> None:
        """In the test: let it go on."""
        with open(self.open, "w", encoding="utf-8"):
            pass


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[tuple[Callable[[str], None], Callable[[], list[str]]]]:
    """A file to which electrons append a line each, and what it says."""
    path = tmp_path / "ran"

    def note(line: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def lines() -> list[str]:
        return path.read_text().split() if path.exists() else []

    return note, lines


def outcome(workflow: object, *args: object, **kwargs: object) -> ct.Result:
    return ct.dispatch_sync(ct.lattice(workflow))(*args, **kwargs)


@pytest.fixture
def run() -> Callable[..., ct.Result]:
    """Dispatch a function as a lattice, and wait."""
    return outcome


@pytest.fixture
def engine_process() -> Callable[[Path], psutil.Process]:
    """The engine of a data folder, as a process."""

    def find(folder: Path) -> psutil.Process:
        return psutil.Process(json.loads((folder / "engine.json").read_text())["pid"])

    return find
