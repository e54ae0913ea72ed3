"""Where code comes from: Python itself, an installed package, or files of the user's.

Installed code is known by the versions of its distribution and of all that this requires. A module
of the user's is known by the contents of all source files that it may import, which are found by
reading them: its whole package, and what that imports, wherever in a file the import stands.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import platform
import re
import site
import sys
import sysconfig
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from qcov.classical.object_graph import hashed
from qcov.transport import address
from qcov.version import __version__

_Searched = tuple[tuple[str, tuple[int, ...] | None], ...]

PYTHON = f"{platform.python_implementation()} {platform.python_version()}"
_OURS = str(Path(__file__).parents[1])
_SUFFIXES = tuple(importlib.machinery.all_suffixes())
#: What imports a module by a name that is text.
IMPORTERS = frozenset({"import_module", "__import__"})


class Origins:
    """Says what decides about the code of modules. Files are read once per object."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def of(self, module: str) -> str:
        """What the code of a module is known by, and of all that it imports."""
        top = module.partition(".")[0]
        if top not in self._told:
            self._told[top] = _told(top)
        return self._told[top]


def _told(top: str) -> str:
    """What a package or a module without a package is known by."""
    seen, waiting = set[str](), [top]
    told: list[str] = []
    searched = _searched()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        versions, roots = _found(name, searched)
        told += [f"{name}: {version}" for version in versions]
        for root in roots:
            for label, content in _sources(root):
                told.append(f"{name}: {label} {address(content)}")
                waiting += _imports(content) if label.endswith(".py") else ()
        if not versions and not roots:
            told.append(f"{name}: not there")
    return hashed(*sorted(told))


def _found(top: str, searched: _Searched) -> tuple[list[str], list[str]]:
    """The versions of what is installed under a name, and the user's files and folders of it."""
    versions, roots = list[str](), list[str]()
    for path in _places(top, searched):
        if path is None or (_within(path, _STANDARD) and not _within(path, _SITES)):
            versions.append(PYTHON)
        elif _within(path, (_OURS,)):
            versions.append(f"qcov {__version__}")
        elif _within(path, _SITES) and (released := _release(top, _written(_SITES))):
            versions += released
        else:
            roots.append(path)
    return versions, roots


def _searched() -> _Searched:
    """Where Python looks for modules, and when something came to these folders or left them.

    Python's own finder keeps what it has seen of a folder for as long.
    """
    return tuple((entry, _stamp(entry or os.curdir)) for entry in sys.path)


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=4096)
def _spec(top: str, _searched: _Searched) -> importlib.machinery.ModuleSpec | None:
    """Where Python would find a module that nobody has imported."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError, OSError):
        return None


def _places(top: str, searched: _Searched) -> list[str | None]:
    """The files and folders that a module without dots is made of; None for Python's own."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None) if module else _spec(top, searched)
    if top in sys.builtin_module_names or getattr(spec, "origin", None) in ("built-in", "frozen"):
        return [None]
    path = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    folders = getattr(module, "__path__", None) or getattr(spec, "submodule_search_locations", None)
    return [*(folders or [path] if path or folders else [])]


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}{os.sep}") for folder in folders)


def _folders(*paths: str | None) -> tuple[str, ...]:
    """The folders under all their names."""
    known = [str(Path(path)) for path in paths if path]
    return tuple(dict.fromkeys([*known, *map(os.path.realpath, known)]))


_STANDARD = _folders(*map(sysconfig.get_path, ("stdlib", "platstdlib")))
_SITES = _folders(
    *map(sysconfig.get_path, ("purelib", "platlib")),
    *site.getsitepackages(),
    site.getusersitepackages(),
)


# -- what is installed -------------------------------------------------------------------------


def _written(folders: Iterable[str]) -> tuple[int, ...]:
    """When something was last installed into folders, or removed."""
    return tuple(Path(folder).stat().st_mtime_ns for folder in folders if Path(folder).is_dir())


@lru_cache(maxsize=1024)
def _release(top: str, _written: tuple[int, ...]) -> tuple[str, ...]:
    """The distributions that have a module, and all that they require, with their versions."""
    waiting = [dist.name for dist in _distributions_with(top)]
    told: dict[str, str] = {}
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in told:
            continue
        try:
            dist = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # an extra that nobody asked for
            continue
        text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
        files = dist.read_text("RECORD") or ""  # a version may be built and installed again
        told[name] = f"{name} {dist.version} {address(files.encode())}"
        waiting += re.findall(r"^Requires-Dist:\s*([A-Za-z0-9._-]+)", text, re.MULTILINE)
    return tuple(sorted(told.values()))


def _distributions_with(top: str) -> list[importlib.metadata.Distribution]:
    """The distributions that have put a module where it is; nearly always one of that name."""
    try:
        dist = importlib.metadata.distribution(top)
        if _has(dist, top):
            return [dist]
    except importlib.metadata.PackageNotFoundError:
        pass
    return [dist for dist in importlib.metadata.distributions() if _has(dist, top)]


def _has(dist: importlib.metadata.Distribution, top: str) -> bool:
    files = dist.read_text("RECORD") or dist.read_text("installed-files.txt") or ""
    names = (dist.read_text("top_level.txt") or "").split()
    return top in names or re.search(rf"^{re.escape(top)}[/.]", files, re.MULTILINE) is not None


# -- the user's files --------------------------------------------------------------------------


def _sources(root: str) -> Iterator[tuple[str, bytes]]:
    """The files of a module or a package that Python may import, with their contents."""
    if not Path(root).is_dir():
        yield Path(root).name, _content(root)
        return
    seen = set[str]()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # what has no name for Python, such as .git, is not imported
        folders[:] = sorted(name for name in folders if name.isidentifier() and real not in seen)
        folders[:] = [name for name in folders if name != "__pycache__"]
        seen.add(real)
        for name in sorted(files):
            if name.endswith(_SUFFIXES):
                path = Path(folder, name)
                yield str(path.relative_to(root)), _content(path)


def _content(path: str | Path) -> bytes:
    """What is in a file; a module in an archive counts as all of the archive."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
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
