"""The machine: its Python, packages and limits."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from qcov.cli.checkup.finding import Finding, ok, problem, warning

_PYTHONS = ((3, 11), (3, 13))  # the oldest and the newest
_FILES = 1024  # open at once: an engine with a few workers and browsers
_SHARED = 64_000_000  # bytes of shared memory
_SHM = Path("/dev/shm")  # noqa: S108  # it is looked at only

#: Versions that are allowed, and known to be bad: what, from where on, below, and what happens.
_TRAPS = (
    ("fsspec", "0", "2025", "an fsspec of 2024 waits for ever in a forked process"),
    ("jax", "0.11", "9999", "PennyLane 0.45 imports what JAX 0.11 has removed"),
)


def python() -> Iterator[Finding]:
    """Whether this Python is one that qcov is tested with."""
    said = f"Python {sys.version.partition(' ')[0]} ({sys.executable})"
    (first, last), now = _PYTHONS, sys.version_info[:2]
    if first <= now <= last:
        yield ok("Python", said)
    else:
        known = f"3.{first[1]} to 3.{last[1]}"
        yield problem("Python", f"{said}; qcov is made for {known}", "Use one of those.")


def packages() -> Iterator[Finding]:
    """Whether what qcov needs is there, in versions that do."""
    try:
        needed = [Requirement(text) for text in metadata.requires("qcov") or ()]
    except metadata.PackageNotFoundError:
        advice = "Install it with pip; a bare checkout says nothing of what it needs."
        yield warning("packages", "qcov is not installed here", advice)
        return
    wrong = [said for need in needed if _always(need) and (said := _misfit(need))]
    if wrong:
        yield problem("packages", "; ".join(wrong), "Install them: pip install --upgrade qcov")
    else:
        yield ok("packages", f"qcov {metadata.version('qcov')}, and all that it needs")
    yield from _trapped()
    yield from _extras(needed)


def _always(need: Requirement) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": ""})


def _misfit(need: Requirement) -> str | None:
    """What is wrong with a package that is needed."""
    try:
        version = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return f"{need.name} is missing"
    fits = need.specifier.contains(version, prereleases=True)
    return None if fits else f"{need.name} {version} is there, {need.specifier} is needed"


def _trapped() -> Iterator[Finding]:
    for name, since, below, said in _TRAPS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if Version(since) <= Version(version) < Version(below):
            advice = f"Install another: pip install '{name}>={below}'"
            advice = advice if since == "0" else f"Install another: pip install '{name}<{since}'"
            yield warning("packages", f"{name} {version}: {said}", advice)


def _extras(needed: list[Requirement]) -> Iterator[Finding]:
    """Which of the extras are there; one that is there in part is named."""
    names = metadata.metadata("qcov").get_all("Provides-Extra") or []
    there, absent = list[str](), list[str]()
    for name in sorted(set(names) - {"all", "dev"}):
        own = [
            need
            for need in needed
            if need.marker and not _always(need) and need.marker.evaluate({"extra": name})
        ]
        wrong = [said for need in own if (said := _misfit(need))]
        if not wrong:
            there.append(name)
        else:
            absent.append(name)
            for said in wrong:
                if "is missing" not in said:
                    advice = f"Install it: pip install --upgrade 'qcov[{name}]'"
                    yield warning("extras", f"{name}: {said}", advice)
    yield ok("extras", f"here: {', '.join(there) or 'none'}; not here: {', '.join(absent)}")


def limits() -> Iterator[Finding]:
    """Cores, open files, shared memory, room for temporary files."""
    yield ok("cores", f"{os.cpu_count() or 1}")
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < _FILES:
        advice = f"Raise it: ulimit -n {min(most, 4096) if most > 0 else 4096}"
        yield warning("open files", f"at most {files} at once; many workers need more", advice)
    else:
        yield ok("open files", f"at most {files} at once" if files >= 0 else "no limit")
    if not _SHM.is_dir():
        return
    free = shutil.disk_usage(_SHM).free
    if free < _SHARED:
        advice = "Give it more; a container takes --shm-size=1g."
        yield warning("shared memory", f"{_SHM} has {free / 1e6:.0f} MB left", advice)
    else:
        yield ok("shared memory", f"{_SHM} has {free / 1e6:.0f} MB left")
