"""What a dispatch runs in, for the record: interpreter, machine, packages, revision of its code.

It is read from names of files alone, and only again where a folder has changed: a dispatch does not
wait for it.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcov.classical.file_stamps import Stamp, stamp
from qcov.classical.installed import described_in
from qcov.transport import address
from qcov.version import __version__

_VERSION = re.compile(r"-(\d[^-]*?)(?:-py\d[\d.]*)?\.(?:dist|egg)-info$")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_REFS = 1_000_000  # bytes of `packed-refs`


def surroundings(environment: Mapping[str, Any]) -> dict[str, str]:
    """The row of what a manifest's environment stands for: `digest`, and JSON in `described`.

    It has `python`, `executable`, `platform`, `host`, `cores`, `folder`, `program`, `commit` (of
    the folder's Git repository), `qcov` and `packages` with their versions. What a program did not
    tell is null.
    """
    paths = tuple(str(path) for path in environment["sys_path"])
    told = (
        environment["executable"], environment.get("version") or environment["python"],
        environment.get("platform"), environment["host"], environment["cwd"],
        environment.get("program"), _revision(environment["cwd"]),
    )  # fmt: skip
    return _row(told, paths, tuple(map(stamp, paths)))


@functools.lru_cache(maxsize=64)
def _row(
    told: tuple[Any, ...], paths: tuple[str, ...], _stamps: tuple[Stamp | None, ...]
) -> dict[str, str]:
    executable, python, platform, host, folder, program, commit = told
    described = json.dumps(
        {
            "python": python, "executable": executable, "platform": platform, "host": host,
            "cores": os.cpu_count(), "folder": folder, "program": program, "commit": commit,
            "qcov": __version__, "packages": _packages(paths),
        }
    )  # fmt: skip
    return {"digest": address(described.encode()), "described": described}


def _packages(paths: tuple[str, ...]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path in paths:  # the first folder that has a package wins
        for name, where in described_in(path).items():
            version = _VERSION.search(Path(where).name)
            found.setdefault(name, version[1] if version else None)
    return dict(sorted(found.items()))


def _revision(folder: str) -> str | None:
    """The commit that is checked out where a program runs; None where that is no repository."""
    try:
        repository = _repository(folder)
        if repository is None:
            return None
        head = (repository / "HEAD").read_text(encoding="utf-8").strip()
        found = _commit_of(repository, head.removeprefix("ref: ")) if ":" in head else head
    except (OSError, UnicodeDecodeError):
        return None
    return found if found is not None and _COMMIT.fullmatch(found) else None


@functools.lru_cache(maxsize=64)
def _repository(folder: str) -> Path | None:
    here = Path(folder)
    for place in (here, *here.parents):
        found = place / ".git"
        if found.is_dir():
            return found
        if found.is_file():  # a work tree, or a submodule
            return place / found.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()
    return None


def _commit_of(repository: Path, name: str) -> str | None:
    """The commit of a branch (https://git-scm.com/docs/gitrepository-layout)."""
    shared = repository / "commondir"
    if shared.is_file():
        repository /= shared.read_text(encoding="utf-8").strip()
    branch = repository / name
    if branch.is_file():
        return branch.read_text(encoding="utf-8").strip()
    packed = repository / "packed-refs"
    if not packed.is_file() or packed.stat().st_size > _MOST_REFS:
        return None
    lines = packed.read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)
