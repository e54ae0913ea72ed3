"""Where a file is: a path of this machine, a path of another one, or a URL."""

from __future__ import annotations

import copy
import errno
import os
import posixpath
import re
import stat
import tempfile
import uuid
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from qcov.classical.deps import shown
from qcov.context import get_context
from qcov.errors import WrongSetting

_ITSELF = "file"  # the name of a temporary file, or folder, in the folder that is its own
_WEB = ("http", "https")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


class File:
    """A file that is to be transferred, or the place where it is to go.

    Args:
        filepath: A path, or a URL: `file:///path`, `http://`, `https://`, `s3://bucket/key`,
            `gs://bucket/key`, `https://account.blob.core.windows.net/container/name`. Local paths
            are made absolute at once. Left out, it is a temporary file, of which each electron
            that runs has one of its own.
        is_remote: The path is one of another machine, to which the strategy knows the way. URLs
            other than `file:` are remote.
        is_dir: It is a folder; a slash at the end says so too.
        include_folder: The folder itself is transferred, not only what is in it.

    Raises:
        WrongSetting: `filepath` is no path.

    >>> File("s3://bucket/data/points.csv").name
    'points.csv'
    >>> File("/tmp/results/").is_dir
    True
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = None,
        is_remote: bool = False,
        is_dir: bool = False,
        include_folder: bool = False,
    ) -> None:
        self.is_temporary = filepath is None
        given = f"qcov-{uuid.uuid4().hex}" if filepath is None else _text(filepath)
        self.scheme, self._path, self._query = _parts(given)
        self.is_remote = is_remote or self.scheme != "file"
        self.is_dir = is_dir or self._path.endswith("/")
        self.include_folder = include_folder
        if not self.is_remote and not self.is_temporary:
            self._path = os.path.abspath(os.path.expanduser(self._path))  # noqa: PTH100, PTH111

    @property
    def filepath(self) -> str:
        """Its path; the URL of what is not a file of some machine's.

        A temporary file is in a folder of its own, made here, into which nobody else can look.

        Raises:
            PermissionError: somebody else has made that folder.
        """
        if self._is_placed:
            return f"{self.scheme}://{self._path}{self._query}" if self._is_url else self._path
        folder = self._private_folder()
        if self.is_remote:  # the other machine's to make
            return str(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(errno.EACCES, "somebody else has made it", str(folder))
        return str(folder / _ITSELF)

    @property
    def _is_url(self) -> bool:
        return self.scheme != "file"

    @property
    def _is_placed(self) -> bool:
        return self._is_url or not self.is_temporary or self._path.startswith("/")

    def _private_folder(self) -> Path:
        context = get_context()  # so that what runs beside an electron finds the electron's own
        run = f"-{context.dispatch_id}-{context.node_id}" if context else ""
        return Path(tempfile.gettempdir(), f"{self._path}{run}")

    @property
    def uri(self) -> str:
        """Its URL."""
        return f"file://{self.filepath}" if self.scheme == "file" else self.filepath

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(self._path.rstrip("/"))

    @property
    def host_and_path(self) -> tuple[str, str]:
        """Of a URL: what stands before the first slash, and behind it."""
        host, _, path = self._path.partition("/")
        return host, path

    @property
    def query(self) -> str:
        """Of an HTTP URL: what begins with its question mark; it may be secret."""
        return self._query

    def joined(self, name: str) -> Self:
        """What has this name in this folder."""
        made = copy.copy(self)
        base = self.filepath if self.is_temporary else self._path
        made._path = posixpath.join(base, name)
        made.is_dir = made.include_folder = False
        return made

    def as_folder(self) -> Self:
        """The same place, as a folder."""
        made = copy.copy(self)
        made.is_dir = True
        return made

    def without_itself(self) -> Self:
        """What is in this folder, in the place of the folder."""
        made = copy.copy(self)
        made.include_folder = False
        return made

    def as_remote(self) -> Self:
        """The same path, of another machine."""
        made = copy.copy(self)
        made.is_remote = True
        return made

    def __str__(self) -> str:
        """Where it is, without what may be secret in a URL."""
        if not self._is_placed:
            return str(self._private_folder() / _ITSELF)
        if self.scheme == "file":
            return self.filepath
        if self.scheme not in _WEB:
            return f"{self.scheme}://{self._path}"
        host, slash, path = self._path.partition("/")
        return f"{self.scheme}://{host.rpartition('@')[2]}{slash}{path}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Folder(File):
    """A folder that is to be transferred, or the place where one is to go.

    Args:
        filepath: As for `File`.
        is_remote: As for `File`.
        is_dir: It is a folder.
        include_folder: The folder itself is transferred, not only what is in it.

    >>> Folder("/data/run1", include_folder=True)
    Folder('/data/run1')
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = None,
        is_remote: bool = False,
        is_dir: bool = True,
        include_folder: bool = False,
    ) -> None:
        super().__init__(filepath, is_remote, is_dir, include_folder)


def as_file(value: File | str | os.PathLike[str] | None) -> File:
    """A path as a `File`; None is a temporary one."""
    return value if isinstance(value, File) else File(value)


def placed(source: File, destination: File) -> File:
    """Where a file or a folder comes to be when it is transferred to `destination`."""
    if source.is_dir:
        folder = destination.as_folder()
        whole = source.include_folder or destination.include_folder
        return folder.joined(source.name).as_folder() if whole else folder
    return destination.joined(source.name) if destination.is_dir else destination


def _text(filepath: str | os.PathLike[str]) -> str:
    kinds = isinstance(filepath, (str, os.PathLike))  # pyright: ignore[reportUnnecessaryIsInstance]
    text = os.fspath(filepath) if kinds else ""
    if not text or "\0" in text:
        raise WrongSetting(setting="filepath", got=shown(filepath), expected="a path or a URL")
    return text


def _parts(given: str) -> tuple[str, str, str]:
    """Scheme, path and query of a path or a URL."""
    match = _URL.fullmatch(given)
    if match is None:
        return "file", given, ""
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise WrongSetting(setting="filepath", got=repr(given), expected="file:///path")
        return scheme, unquote(f"/{path}"), ""
    if scheme in _WEB:
        path, mark, query = rest.partition("?")
        return scheme, path, mark + query
    return scheme, rest, ""
