"""What a worker has imported, and whether it is what stands in the files."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcov.classical.engine.imported import ImportedModules

LONG_AGO = 10**18  # 2001
SOON = 10 * 10**9  # nanoseconds from now


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / f"imported_{os.urandom(4).hex()}.py"
    path.write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop(path.stem, None)


@pytest.fixture
def modules() -> ImportedModules:
    noted = ImportedModules()
    noted.note(time.time_ns() + SOON)
    return noted


def noted(modules: ImportedModules, module: Path, began: int) -> None:
    importlib.import_module(module.stem)
    modules.note(began)


def test_a_file_that_is_written_again(modules: ImportedModules, module: Path) -> None:
    noted(modules, module, time.time_ns() + SOON)
    assert not modules.changed()
    kept = module.stat()
    module.write_text("VALUE = 2\n")
    os.utime(module, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as `cp -p` does
    assert modules.changed()


def test_a_file_that_was_written_since_the_import_can_have_begun(
    modules: ImportedModules, module: Path
) -> None:
    noted(modules, module, LONG_AGO)
    assert modules.changed()


def test_whether_it_is_as_old_as_a_key(module: Path) -> None:
    modules = ImportedModules()
    assert modules.older_than(LONG_AGO)
    noted(modules, module, time.time_ns() + SOON)
    assert modules.older_than(time.time_ns() + SOON)
    assert not modules.older_than(LONG_AGO)
