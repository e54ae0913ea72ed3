"""What a dispatch runs in, as it is noted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qcov.classical.engine.surroundings import surroundings


def noted(folder: Path, *paths: Path, **more: Any) -> dict[str, Any]:
    told = {
        "executable": "/bin/python", "python": "3.11", "host": "here", "cwd": str(folder),
        "sys_path": [str(path) for path in paths], **more,
    }  # fmt: skip
    return json.loads(surroundings(told)["described"])


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)


def test_packages_are_those_of_the_first_folder_with_their_versions(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    install(one, "numpy-2.1.0.dist-info", "Scikit_Learn-1.5.dist-info", "odd.egg-info")
    install(two, "numpy-1.0.dist-info", "old-0.3-py3.11.egg-info", "numpy")

    assert noted(tmp_path, one, two)["packages"] == {
        "numpy": "2.1.0", "odd": None, "old": "0.3", "scikit-learn": "1.5",
    }  # fmt: skip


def test_what_is_installed_later_is_seen_and_equal_surroundings_are_one(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "a-1.dist-info")
    told = {"executable": "x", "python": "3.11", "host": "h", "cwd": "/", "sys_path": [str(site)]}
    before = surroundings(told)

    assert surroundings(dict(told)) == before
    install(site, "b-2.dist-info")
    assert surroundings(told)["digest"] != before["digest"]


def test_the_commit_of_the_folder_is_noted(tmp_path: Path) -> None:
    inside = tmp_path / "repository" / "inside"
    inside.mkdir(parents=True)
    git(inside.parent, "init", "-q", "-b", "main")
    assert noted(inside)["commit"] is None
    git(inside.parent, "commit", "-q", "--allow-empty", "-m", "first")
    first = git(inside, "rev-parse", "HEAD").strip()
    assert noted(inside)["commit"] == first

    git(inside.parent, "pack-refs", "--all")
    git(inside, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    assert noted(inside)["commit"] == noted(tmp_path / "tree")["commit"] == first
    git(tmp_path / "tree", "checkout", "-q", "--detach")
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "second")
    assert noted(tmp_path / "tree")["commit"] == git(tmp_path / "tree", "rev-parse", "HEAD").strip()


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none", "nonsense", "\xff"])
def test_a_damaged_repository_is_none(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(head.encode("latin-1"))

    assert noted(tmp_path)["commit"] is None


def test_what_an_older_program_does_not_tell_is_null(tmp_path: Path) -> None:
    found = noted(tmp_path)

    assert (found["python"], found["platform"], found["program"]) == ("3.11", None, None)
    assert noted(tmp_path, version="3.11.7")["python"] == "3.11.7"
