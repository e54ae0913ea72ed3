"""Whose a file is, and what a distribution has brought."""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import qcov
from qcov.classical import installed
from qcov.classical.installed import Owner, is_distributed, owner, part_of_site, site_folders

PURE = sysconfig.get_path("purelib")


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        (json.__file__, Owner.PYTHON),
        (np.__file__, Owner.SITE),
        (f"{PURE}/thing.py", Owner.SITE),
        (f"{site.getusersitepackages()}/thing.py", Owner.SITE),
        (qcov.__file__, Owner.QCOV),
        (f"{sys.prefix}/thing.py", Owner.USER),
        (f"{sys.prefix}/src/thing/thing.py", Owner.USER),
        (f"{sys.prefix}/bin/thing.py", Owner.USER),
        (f"{sys.base_prefix}/lib/thing.py", Owner.USER),
        (__file__, Owner.USER),
    ],
)
def test_whose_a_file_is(path: str, whose: Owner) -> None:
    assert owner(path, site_folders()) is whose


def test_packages_of_other_interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an environment that another one lies over, say."""
    folders = [tmp_path / name for name in ("site-packages", "dist-packages", "my-site-packages")]
    for folder in folders:
        monkeypatch.syspath_prepend(folder)

    sites = site_folders()
    assert [owner(f"{folder}/thing.py", sites) is Owner.SITE for folder in folders] == [
        True, True, False,
    ]  # fmt: skip


def test_a_site_folder_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, name = tmp_path / "real", tmp_path / "site-packages"
    real.mkdir()
    name.symlink_to(real)
    monkeypatch.syspath_prepend(name)

    sites = site_folders()
    for folder in (real, name):
        assert part_of_site(f"{folder}/thing/one.py", sites) == (str(folder), "thing")


def test_what_a_distribution_has_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "_SITES", ())
    monkeypatch.syspath_prepend(tmp_path)
    for name, files in (("a_named-1.0", "a_named.py"), ("other-2.0", "within/thing.py")):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        (folder / "RECORD").write_text(f"{files},,\n")

    parts = ["a_named.py", "a_named", "within", "mine.py"]
    brought = [is_distributed(os.fspath(tmp_path), part) for part in parts]
    assert brought == [True, True, True, False]
