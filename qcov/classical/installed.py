"""Whose a file is: Python's own, qcov's, an installed package's, or the user's.

Only the folders of the standard library and those that packages are installed into are not the
user's: a virtual environment may lie in a project's folder, and have checkouts in its own.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from qcov.classical.file_stamps import Stamp, stamp

#: What folders are called that packages are installed into, those of other interpreters too.
SITE_NAMES = ("site-packages", "dist-packages")
_DESCRIPTIONS = (".dist-info", ".egg-info")
#: A file in such a folder of an environment that the engine has made: it is never written again.
OVERLAY = "qcov_user.pth"


class Owner(enum.Enum):
    """Whose a file is."""

    PYTHON = enum.auto()
    QCOV = enum.auto()
    SITE = enum.auto()  #: in a folder that packages are installed into
    USER = enum.auto()


def _folders(*paths: str | None) -> tuple[str, ...]:
    """The folders under all their names."""
    known = [str(Path(path)) for path in paths if path]
    return tuple(dict.fromkeys([*known, *map(os.path.realpath, known)]))


_STANDARD = _folders(*map(sysconfig.get_path, ("stdlib", "platstdlib")))
_OURS = (str(Path(__file__).parents[1]),)
_SITES = _folders(
    *map(sysconfig.get_path, ("purelib", "platlib")),
    *site.getsitepackages(),
    site.getusersitepackages(),
)


def site_folders() -> tuple[str, ...]:
    """The folders that packages are installed into: this interpreter's, and those on the path."""
    return _with_sites(tuple(path for path in sys.path if path.endswith(SITE_NAMES)), _SITES)


@lru_cache(maxsize=64)
def _with_sites(paths: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    found = (path for path in paths if Path(path).name in SITE_NAMES)
    return tuple(dict.fromkeys([*own, *_folders(*found)]))


def owner(path: str, sites: tuple[str, ...]) -> Owner:
    """Whose a file or a folder is.

    Args:
        path: Where it lies.
        sites: What `site_folders()` gives.
    """
    if _within(path, _OURS):
        return Owner.QCOV
    if _within(path, sites):
        return Owner.SITE
    return Owner.PYTHON if _within(path, _STANDARD) else Owner.USER


def _within(path: str, folders: tuple[str, ...]) -> bool:
    return path.startswith(_prefixes(folders)) or path in folders


@lru_cache(maxsize=64)
def _prefixes(folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{folder}{os.sep}" for folder in folders)


def part_of_site(path: str, sites: tuple[str, ...]) -> tuple[str, str]:
    """The folder that packages are installed into, and what a path is below in it."""
    prefix = next(prefix for prefix in _prefixes(sites) if path.startswith(prefix))
    return prefix[:-1], path[len(prefix) :].partition(os.sep)[0]


# -- what has brought a module -----------------------------------------------------------------


def is_distributed(folder: str, part: str) -> bool:
    """True if a distribution has put something into such a folder; else the user has."""
    top = part.partition(".")[0]
    return normalised(top) in described_in(folder) or any(_with(top))


def described_in(folder: str) -> Mapping[str, str]:
    """What is installed in a folder, by name, and where it is described there.

    The names are nearly always those of the packages too. Where a description such as
    `numpy-2.1.0.dist-info` stands as it did, the same version is installed
    (https://packaging.python.org/specifications/recording-installed-packages).
    """
    return _described_in(folder, stamp(folder))


@lru_cache(maxsize=256)
def _described_in(folder: str, written: Stamp | None) -> Mapping[str, str]:
    found: dict[str, str] = {}
    if written is None:
        return found
    with (
        contextlib.suppress(OSError),
        os.scandir(folder) as entries,
    ):  # an archive; not ours to read
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.endswith(_DESCRIPTIONS):
                name = entry.name.rpartition(".")[0].partition("-")[0]
                found.setdefault(normalised(name), entry.path)
    return found


def distributions_with(top: str) -> list[metadata.Distribution]:
    """The distributions that have put a module where it is; nearly always one of that name."""
    try:
        dist = metadata.distribution(top)
        if _has(dist, top):
            return [dist]
    except metadata.PackageNotFoundError:
        pass
    return list(_with(top))


def _with(top: str) -> Iterator[metadata.Distribution]:
    return (dist for dist in metadata.distributions() if _has(dist, top))


def _has(dist: metadata.Distribution, top: str) -> bool:
    files = dist.read_text("RECORD") or dist.read_text("installed-files.txt") or ""
    names = (dist.read_text("top_level.txt") or "").split()
    return top in names or re.search(rf"^{re.escape(top)}[/.]", files, re.MULTILINE) is not None


def normalised(name: str) -> str:
    """A distribution's name as all its spellings give it."""
    return re.sub(r"[-_.]+", "-", name).lower()
