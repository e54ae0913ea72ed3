"""What the clouds' object stores have in common: objects by name, folders by prefix."""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

from qcov.classical.files.file import File, Folder
from qcov.classical.files.landing import landing, make_folder
from qcov.classical.files.local import check_no_folder
from qcov.classical.files.strategy import FileTransferStrategy, check_local, move
from qcov.errors import WrongSetting

_AT_ONCE = 8  # objects of a folder; each waits for the network most of its time

T = TypeVar("T")


class Bucket(Protocol):
    """An open connection to where objects lie."""

    def get(self, name: str, path: Path) -> None:
        """Write an object to a file."""
        ...

    def put(self, path: Path, name: str) -> None:
        """Make an object of a file."""
        ...

    def names(self, prefix: str) -> Iterable[str]:
        """The names of all objects that begin so."""
        ...


class ObjectStore(FileTransferStrategy):
    """A strategy for objects in a cloud; subclasses say how to reach them."""

    #: What its URLs look like.
    form = ""

    @abstractmethod
    def place_of(self, file: File) -> tuple[str, str]:
        """The bucket and the object's name in a URL; the bucket is empty in one of another kind."""

    @abstractmethod
    def bucket_of(self, file: File) -> Bucket:
        """Connect to the bucket of a URL."""

    def cp(self, from_file: File | str, to_file: File | str | None = None) -> Callable[[], None]:
        """Copy an object, or a folder of them, by way of this machine.

        Raises:
            WrongSetting: one of them is no object here.
        """
        made = move(self._copy, from_file, to_file)
        self._check(made.source)
        self._check(made.destination)
        return made

    def download(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Bring an object here, or a folder of them.

        Raises:
            WrongSetting: it is no object here, or the place to go is not on this machine.
        """
        made = move(self._download, from_file, to_file)
        self._check(made.source)
        check_local(made.destination, strategy=self)
        return made

    def upload(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Make an object of a file of this machine, or objects of what is in a folder.

        Raises:
            WrongSetting: the file is not on this machine, or no object can be there.
        """
        made = move(self._upload, from_file, to_file)
        check_local(made.source, strategy=self)
        self._check(made.destination)
        return made

    def _check(self, file: File) -> None:
        bucket, name = self.place_of(file)
        if not bucket or not (name or file.is_dir):
            raise WrongSetting(
                setting=f"an object of {type(self).__name__}", got=str(file), expected=self.form
            )

    def _copy(self, source: File, destination: File) -> None:
        with TemporaryDirectory() as folder:
            between = Folder(folder) if source.is_dir else File(Path(folder, "object"))
            self._download(source, between)
            self._upload(between, destination)

    def _download(self, source: File, destination: File) -> None:
        bucket, (_, name) = self.bucket_of(source), self.place_of(source)
        if not source.is_dir:
            with landing(destination) as partial:
                bucket.get(name, partial)
            return
        prefix = _prefix(name)
        found = [one.removeprefix(prefix) for one in bucket.names(prefix)]
        if not found:
            raise FileNotFoundError(errno.ENOENT, "there is nothing in this folder")

        def fetch(inner: str) -> None:
            with landing(destination, inner) as partial:
                bucket.get(prefix + inner, partial)

        make_folder(destination)
        _at_once(fetch, [_safe(inner) for inner in found if inner and not inner.endswith("/")])

    def _upload(self, source: File, destination: File) -> None:
        path = Path(source.filepath)
        bucket, (_, name) = self.bucket_of(destination), self.place_of(destination)
        if not source.is_dir:
            check_no_folder(path)
            bucket.put(path, name)
            return
        prefix = _prefix(name)

        def send(inner: Path) -> None:
            bucket.put(inner, prefix + inner.relative_to(path).as_posix())

        next(path.iterdir(), None)  # a missing folder is an error
        _at_once(send, [one for one in path.rglob("*") if one.is_file()])


def _prefix(name: str) -> str:
    return f"{name.rstrip('/')}/" if name else ""


def _safe(inner: str) -> str:
    """Refuse an object that would be written outside its folder; others may have named it."""
    path = PurePosixPath(inner)
    if path.is_absolute() or ".." in path.parts or "\0" in inner:
        raise ValueError(f"the object {inner!r} would lie outside the folder")
    return inner


def _at_once(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do it for all; what has not begun when one fails is left."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
