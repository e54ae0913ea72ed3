"""What a worker has imported, and whether it is what stands in the files."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcov.classical import installed
from qcov.classical.engine.imported import ImportedModules
from qcov.classical.file_stamps import latest_change, stamp
from qcov.classical.files_read import FilesRead

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
    noted = ImportedModules(FilesRead())
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
    modules = ImportedModules(FilesRead())
    before = time.time_ns() - SOON
    assert not modules.older_than(LONG_AGO)  # packages were installed since
    noted(modules, module, time.time_ns() + SOON)
    assert modules.older_than(time.time_ns() + SOON)
    assert not modules.older_than(before)


# -- installed packages


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are installed into."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(installed, "_SITES", ())
    monkeypatch.syspath_prepend(folder)
    return folder


def install(site: Path, name: str, version: str) -> None:
    """As pip does: the folder of the version before has gone."""
    for old in site.glob(f"{name}-*"):
        shutil.rmtree(old)
    (site / f"{name}-{version}.dist-info").mkdir()
    (site / f"{name}-{version}.dist-info" / "RECORD").write_text(f"{name}.py,,\n")
    (site / f"{name}.py").write_text(f"VALUE = {version!r}\n")


@pytest.fixture
def package(site: Path) -> Iterator[str]:
    name = f"installed_{os.urandom(4).hex()}"
    install(site, name, "1.0")
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("imported", [True, False])
def test_a_package_that_is_installed_again(site: Path, package: str, imported: bool) -> None:
    modules = ImportedModules(FilesRead())
    if imported:
        importlib.import_module(package)
        modules.note(time.time_ns() + SOON)
    assert not modules.changed()
    install(site, package, "2.0")
    assert modules.changed()
    importlib.import_module(package)
    modules.note(time.time_ns() + SOON)
    assert modules.changed()


def test_a_package_that_is_installed_after_the_key_was_made(site: Path, package: str) -> None:
    modules = ImportedModules(FilesRead())
    keyed = latest_change(stamp(str(site)) or ()) + 1
    assert modules.older_than(keyed)
    while latest_change(stamp(str(site)) or ()) < keyed:
        install(site, package, "2.0")
    importlib.import_module(package)
    modules.note(time.time_ns() + SOON)
    assert not modules.older_than(keyed)


def test_what_no_distribution_has_brought_is_looked_at(site: Path, package: str) -> None:
    (site / "by_hand.py").write_text("VALUE = 1\n")
    sys.modules.pop("by_hand", None)
    modules = ImportedModules(FilesRead())
    for name in ("by_hand", package):
        importlib.import_module(name)
    modules.note(time.time_ns() + SOON)
    (site / f"{package}.py").write_text("VALUE = 'edited'\n")
    assert not modules.changed()
    (site / "by_hand.py").write_text("VALUE = 22\n")
    assert modules.changed()


def test_an_environment_of_the_engines_is_never_written_again(site: Path, package: str) -> None:
    """It is made after the key, which has its packages."""
    (site / installed.OVERLAY).touch()
    importlib.import_module(package)
    modules = ImportedModules(FilesRead())
    modules.note(time.time_ns() + SOON)
    install(site, "another", "1.0")
    assert not modules.changed()


# -- other files that code is read from


def test_a_file_that_was_read(tmp_path: Path) -> None:
    files = FilesRead()
    files.note(str(tmp_path / "none"))
    path = tmp_path / "library"
    path.write_text("1")
    files.note(str(path), time.time_ns() + SOON)
    assert not files.changed()
    assert files.older_than(time.time_ns() + SOON)
    assert not files.older_than(LONG_AGO)
    path.write_text("22")
    assert files.changed()


def test_a_file_that_is_read_again_is_as_old_as_the_last_time(tmp_path: Path) -> None:
    files = FilesRead()
    path = tmp_path / "code.py"
    path.write_text("1")
    files.note_now(str(path))
    keyed = latest_change(stamp(str(path)) or ()) + 1
    assert files.older_than(keyed)
    while latest_change(stamp(str(path)) or ()) < keyed:
        path.write_text("22")
    files.note_now(str(path))
    assert not files.older_than(keyed)
    assert files.changed()
