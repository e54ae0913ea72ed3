"""Where code comes from: Python itself, an installed package, or files of the user's.

Installed code is known by the versions of its distribution and of all that this requires. A module
of the user's is known by the contents of all source files that it may import, which are found by
reading them: its whole package, and what that imports, wherever in a file the import stands. Which
of them a file is, `qcov.classical.installed` says.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from qcov.classical.file_stamps import Stamp, Stamps
from qcov.classical.installed import Owner, distributions_with, normalised, owner, site_folders
from qcov.classical.object_graph import hashed
from qcov.transport import address
from qcov.version import __version__

_Searched = tuple[tuple[str, Stamp | None], ...]
#: The files and folders that a module without dots is made of; None for Python's own.
_Places = Sequence[str | None]

PYTHON = f"{platform.python_implementation()} {platform.python_version()}"
_SUFFIXES = tuple(importlib.machinery.all_suffixes())
#: What imports a module by a name that is text.
IMPORTERS = frozenset({"import_module", "__import__"})


class Origins:
    """Says what decides about the code of modules.

    Files are looked at once per object, and read again only when one of them, or where modules are
    found, was changed since any object has read them.

    Args:
        clock: The time of day in nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._told: dict[str, str] = {}

    def of(self, module: str) -> str:
        """What the code of a module is known by, and of all that it imports."""
        top = module.partition(".")[0]
        if top not in self._told:
            self._told[top] = _told(top, self._clock)
        return self._told[top]

    def of_file(self, path: str) -> str:
        """What the code in a file is known by that is no module, and all that it imports."""
        content = Path(path).read_bytes()
        imported = (f"{name} {self.of(name)}" for name in sorted(_imports(content)))
        return hashed(address(content), *imported)

    @property
    def count(self) -> int:
        """How many modules have been looked at."""
        return len(self._told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a module was known by, and all that it depends on."""

    told: str
    searched: _Searched
    stamps: Stamps
    places: Mapping[str, _Places | None]  #: of each module that was met; None if not imported

    def holds(self, searched: _Searched, stamps: Stamps) -> bool:
        """True if reading all of it again would come to the same."""
        return (
            searched == self.searched
            and self.stamps.hold(stamps)
            and all(self._stands(name, places) for name, places in self.places.items())
        )

    def _stands(self, name: str, places: _Places | None) -> bool:
        if places is None:  # where it would be found follows from where modules are searched
            return sys.modules.get(name) is None
        return _places(name, self.searched) == places


_known: dict[str, _Known] = {}  # by module


def _told(top: str, clock: Callable[[], int]) -> str:
    """What a package or a module without a package is known by."""
    stamps = Stamps(clock)
    searched = _searched(stamps)
    known = _known.get(top)
    if known is None or not known.holds(searched, stamps):
        known = _read_all(top, searched, stamps)
        if stamps.settled:
            _known[top] = known
        else:
            _known.pop(top, None)
    return known.told


def _read_all(top: str, searched: _Searched, stamps: Stamps) -> _Known:
    """Read the files of a module, and of those that it imports."""
    sites = site_folders()
    written = _written(sites, stamps)
    places: dict[str, _Places | None] = {}
    waiting = [top]
    told: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in places:
            continue
        found = _places(name, searched)
        places[name] = None if sys.modules.get(name) is None else found
        versions, roots = _found(name, found, sites, written)
        told += [f"{name}: {version}" for version in versions]
        for root in roots:
            for label, content in _sources(root, stamps):
                told.append(f"{name}: {label} {address(content)}")
                waiting += _imports(content) if label.endswith(".py") else ()
        if not versions and not roots:
            told.append(f"{name}: not there")
    return _Known(told=hashed(*sorted(told)), searched=searched, stamps=stamps, places=places)


def _found(
    top: str, places: _Places, sites: tuple[str, ...], written: tuple[Stamp, ...]
) -> tuple[list[str], list[str]]:
    """The versions of what is installed under a name, and the user's files and folders of it."""
    versions, roots = list[str](), list[str]()
    for path in places:
        whose = Owner.PYTHON if path is None else owner(path, sites)
        if path is None or whose is Owner.PYTHON:
            versions.append(PYTHON)
        elif whose is Owner.QCOV:
            versions.append(f"qcov {__version__}")
        elif whose is Owner.SITE and (released := _release(top, written)):
            versions += released
        else:
            roots.append(path)
    return versions, roots


def _searched(stamps: Stamps) -> _Searched:
    """Where Python looks for modules, and when something came to these folders or left them.

    Python's own finder keeps what it has seen of a folder for as long.
    """
    return tuple((entry, stamps.note(entry or os.curdir)) for entry in sys.path)


@lru_cache(maxsize=4096)
def _spec(top: str, _searched: _Searched) -> importlib.machinery.ModuleSpec | None:
    """Where Python would find a module that nobody has imported."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError, OSError):
        return None


def _places(top: str, searched: _Searched) -> _Places:
    """Where a module is, whether it was imported or would be."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None) if module else _spec(top, searched)
    if top in sys.builtin_module_names or getattr(spec, "origin", None) in ("built-in", "frozen"):
        return [None]
    path = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    folders = getattr(module, "__path__", None) or getattr(spec, "submodule_search_locations", None)
    return [*(folders or [path] if path or folders else [])]


# -- what is installed -------------------------------------------------------------------------


def _written(folders: Iterable[str], stamps: Stamps) -> tuple[Stamp, ...]:
    """When something was last installed into folders, or removed."""
    found = (stamps.note(folder) for folder in folders)
    return tuple(stamp for stamp in found if stamp is not None)


@lru_cache(maxsize=1024)
def _release(top: str, written: tuple[Stamp, ...]) -> tuple[str, ...]:
    """The distributions that have a module, and all that they require, with their versions."""
    waiting = [dist.name for dist in distributions_with(top)]
    told: dict[str, str] = {}
    while waiting:
        name = normalised(waiting.pop())
        if name not in told and (installed := _installed(name, written)):
            told[name] = installed.told
            waiting += installed.required
    return tuple(sorted(told.values()))


@dataclass(frozen=True, slots=True)
class _Installed:
    """What was read of a distribution: thousands of modules share some hundred of them."""

    told: str
    required: tuple[str, ...]


@lru_cache(maxsize=4096)
def _installed(name: str, _written: tuple[Stamp, ...]) -> _Installed | None:
    """A distribution by its name; None if it is not there, as an extra that nobody asked for."""
    try:
        dist = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
    files = dist.read_text("RECORD") or ""  # a version may be built and installed again
    required = re.findall(r"^Requires-Dist:\s*([A-Za-z0-9._-]+)", text, re.MULTILINE)
    return _Installed(f"{name} {dist.version} {address(files.encode())}", tuple(required))


# -- the user's files --------------------------------------------------------------------------


def _sources(root: str, stamps: Stamps) -> Iterator[tuple[str, bytes]]:
    """The files of a module or a package that Python may import, with their contents."""
    stamps.note(root)
    if not Path(root).is_dir():
        yield Path(root).name, _content(root, stamps)
        return
    seen = set[str]()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # what has no name for Python, such as .git, is not imported
        folders[:] = sorted(name for name in folders if name.isidentifier() and real not in seen)
        folders[:] = [name for name in folders if name != "__pycache__"]
        seen.add(real)
        for name in folders:  # before they are listed
            stamps.note(os.path.join(folder, name))  # noqa: PTH118  # as `walk` calls it
        for name in sorted(files):
            if name.endswith(_SUFFIXES):
                path = Path(folder, name)
                yield str(path.relative_to(root)), _content(path, stamps)


def _content(path: str | Path, stamps: Stamps) -> bytes:
    """What is in a file; a module in an archive counts as all of the archive."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    stamps.note(str(place))
    return place.read_bytes()


def _imports(content: bytes) -> frozenset[str]:
    """The names without dots that a source file imports, or may import by a text."""
    digest = address(content)
    if digest not in _read:
        _read[digest] = _imports_of(content)
    return _read[digest]


_read: dict[str, frozenset[str]] = {}  # what files import, by the digest of their content


def _imports_of(content: bytes) -> frozenset[str]:
    try:
        text = importlib.util.decode_source(content).replace("\\\n", " ")
    except (SyntaxError, UnicodeDecodeError):  # nobody can import it
        return frozenset()
    named = [unicodedata.normalize("NFKC", "".join(found)) for found in _IMPORT.findall(text)]
    names = [name for several in named for name in several.split(",")]
    if any(importer in text for importer in IMPORTERS):
        names += _QUOTED.findall(text)
    tops = (name.partition(".")[0].split() for name in names)
    return frozenset(top[0] for top in tops if top)


_NAME = r"\w+(?:\s*\.\s*\w+)*"
#: A statement begins on a line of its own, or after a colon or a semicolon. Parsing would find the
#: same, and take twenty times as long; what a text happens to say too does no harm.
_IMPORT = re.compile(
    rf"(?:^|[:;])[ \t\f]*(?:from\s+({_NAME})\s+import\b"
    rf"|import\s+({_NAME}(?:\s+as\s+\w+)?(?:\s*,\s*{_NAME}(?:\s+as\s+\w+)?)*))",
    re.MULTILINE,
)
_QUOTED = re.compile(r"""["']([\w.]+)["']""")


def is_module_name(text: str) -> bool:
    """Whether a text can be the name of a module."""
    return all(part.isidentifier() for part in text.split("."))
