"""What every way to transfer files has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from qcov.classical.files.file import File, as_file, placed
from qcov.errors import DependencyFailed, QcovError, TransferFailed, WrongSetting


class FileTransferStrategy:
    """A way to transfer files; subclasses override what they can do.

    Each method takes the file to transfer and the place where it is to go (files, paths or URLs;
    left out, a temporary one), and returns a function that does it.
    """

    #: Attributes that are never shown.
    secret: ClassVar[tuple[str, ...]] = ()

    def cp(self, from_file: File | str, to_file: File | str | None = None) -> Callable[[], None]:
        """Copy, where neither or both of the files are remote.

        Raises:
            WrongSetting: this strategy cannot do it.
        """
        raise self._unable("copy", from_file, to_file)

    def download(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Bring a remote file here.

        Raises:
            WrongSetting: this strategy cannot do it.
        """
        raise self._unable("download", from_file, to_file)

    def upload(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Bring a file of this machine to a remote place.

        Raises:
            WrongSetting: this strategy cannot do it.
        """
        raise self._unable("upload", from_file, to_file)

    def _unable(self, verb: str, from_file: File | str, to_file: File | str | None) -> WrongSetting:
        source, destination = as_file(from_file), as_file(to_file)
        return WrongSetting(
            setting=f"the strategy that is to {verb} {source} to {destination}",
            got=f"{type(self).__name__}, which cannot",
            expected="another one",
        )

    def __repr__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value}
        told = (
            f"{name}={'...' if name in self.secret else repr(value)}"
            for name, value in given.items()
        )
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, slots=True)
class Move:
    """A transfer that is made when this is called."""

    perform: Callable[[File, File], None]
    source: File
    destination: File

    def __call__(self) -> None:
        """Make it. Raises `TransferFailed`."""
        with naming(self.source, self.destination):
            self.perform(self.source, self.destination)


def move(
    perform: Callable[[File, File], None], from_file: File | str, to_file: File | str | None
) -> Move:
    """A transfer by `perform`, to where the file or folder is to be in the end."""
    source = as_file(from_file)
    return Move(perform, source.without_itself(), placed(source, as_file(to_file)))


@contextmanager
def naming(source: File, destination: File) -> Generator[None, None, None]:
    """Let what fails say between which files it was. Raises `TransferFailed`."""
    try:
        yield
    except TransferFailed:
        raise
    except Exception as error:
        raise TransferFailed(
            source=str(source), destination=str(destination), reason=_reason(error)
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()).rstrip(".")
    told = isinstance(error, (OSError, QcovError)) and text
    return text if told else f"{type(error).__name__}: {text}"


def library(name: str, extra: str, strategy: FileTransferStrategy) -> Any:
    """A module that comes with an extra of qcov's. Raises `DependencyFailed`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyFailed(
            what=f"{name}, which {type(strategy).__name__} needs, is missing",
            reason="it is not installed where the electron runs",
            advice=f"Run there: pip install 'qcov[{extra}]'",
        ) from error


def is_local(file: File) -> bool:
    """True for a file of this machine's."""
    return file.scheme == "file" and not file.is_remote


def check_local(*files: File, strategy: FileTransferStrategy) -> None:
    """Refuse files of other machines. Raises `WrongSetting`."""
    for file in files:
        if not is_local(file):
            raise WrongSetting(
                setting=f"a file that {type(strategy).__name__} is to read or write here",
                got=str(file),
                expected="a path of this machine",
            )
