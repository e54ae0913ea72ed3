"""Electrons see the environment variables of the program that dispatched them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import qcov as ct

pytestmark = pytest.mark.process


@ct.electron
def variable(name: str) -> str | None:
    return os.environ.get(name)


@ct.lattice
def look(name: str) -> str | None:
    return variable(name)


def test_each_dispatch_has_its_own_variables(
    common_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "first-3f9a")
    assert ct.dispatch_sync(look)("A_TOKEN").result == "first-3f9a"

    monkeypatch.setenv("A_TOKEN", "second-77c1")
    assert ct.dispatch_sync(look)("A_TOKEN").result == "second-77c1"


def test_variables_are_not_stored(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "canary-51d0e8")

    assert ct.dispatch_sync(look)("HOME").result == os.environ["HOME"]

    stored = [path for path in data_folder.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"canary-51d0e8" in path.read_bytes()]


def test_an_electron_stays_with_its_engine(common_engine: Path) -> None:
    assert ct.dispatch_sync(look)("QCOV_DATA_DIR").result == str(common_engine)
