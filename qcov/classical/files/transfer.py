"""Transfers: what is brought from where to where, when and how."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum

from qcov.classical.deps import shown
from qcov.classical.files.blob import Blob, is_blob
from qcov.classical.files.file import File, as_file, placed
from qcov.classical.files.gcloud import GCloud
from qcov.classical.files.http import HTTP
from qcov.classical.files.local import Shutil
from qcov.classical.files.rsync import Rsync
from qcov.classical.files.s3 import S3
from qcov.classical.files.strategy import FileTransferStrategy, is_local, naming
from qcov.errors import WrongSetting

Path = File | str | os.PathLike[str]


class Order(StrEnum):
    """When a file is transferred: before its electron runs, or after it."""

    BEFORE = "before"
    AFTER = "after"


class FileTransfer:
    """A file or a folder that is copied before or after an electron runs.

    Args:
        from_file: What is copied: a `File`, a `Folder`, a path or a URL. Left out, a temporary
            file, which the electron is to write.
        to_file: Where it goes; left out, a temporary file.
        order: Before the electron or after it.
        strategy: How; left out, the URL says it: S3, GCloud, Blob or HTTP, and Shutil for two
            paths of one machine.

    Raises:
        WrongSetting: there is no way from the one to the other.

    >>> FileTransfer("s3://bucket/points.csv", "/tmp/points.csv")
    FileTransfer(s3://bucket/points.csv -> /tmp/points.csv, before, S3())
    """

    def __init__(
        self,
        from_file: Path | None = None,
        to_file: Path | None = None,
        order: Order = Order.BEFORE,
        strategy: FileTransferStrategy | None = None,
    ) -> None:
        self.from_file, self.to_file = as_file(from_file), as_file(to_file)
        if order not in list(Order):
            raise WrongSetting(
                setting="order", got=shown(order), expected="Order.BEFORE or Order.AFTER"
            )
        if strategy is not None and not isinstance(strategy, FileTransferStrategy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WrongSetting(
                setting="strategy", got=shown(strategy), expected="one of ct.fs_strategies"
            )
        self.order = Order(order)
        self.strategy = strategy or _strategy_for(self.from_file, self.to_file)
        self._moves()  # what cannot be fails here

    @property
    def paths(self) -> tuple[str, str]:
        """From where it is copied, and where it is then."""
        return self.from_file.filepath, placed(self.from_file, self.to_file).filepath

    def run(self) -> None:
        """Do it here and now.

        Raises:
            TransferFailed: it did not work.
        """
        with naming(self.from_file, self.to_file):
            self._moves()()

    def _moves(self) -> Callable[[], None]:
        strategy = self.strategy
        here = is_local(self.from_file), is_local(self.to_file)
        way = {(False, True): strategy.download, (True, False): strategy.upload}
        return way.get(here, strategy.cp)(self.from_file, self.to_file)

    def __repr__(self) -> str:
        return f"FileTransfer({self.from_file} -> {self.to_file}, {self.order}, {self.strategy!r})"


def TransferFromRemote(  # noqa: N802  # Covalent's spelling
    from_filepath: Path,
    to_filepath: Path | None = None,
    strategy: FileTransferStrategy | None = None,
    order: Order = Order.BEFORE,
) -> FileTransfer:
    """A transfer of a remote file to here, before an electron runs.

    Args:
        from_filepath: The remote file.
        to_filepath: Where it goes; left out, a temporary file.
        strategy: How; see `FileTransfer`. A path of another machine needs an `Rsync`.
        order: Before the electron or after it.

    Raises:
        WrongSetting: there is no way from the one to the other.

    >>> cluster = Rsync(user="ana", host="cluster")
    >>> TransferFromRemote("/data/in.csv", "/tmp/in.csv", strategy=cluster)
    FileTransfer(/data/in.csv -> /tmp/in.csv, before, Rsync(user='ana', host='cluster'))
    """
    return FileTransfer(as_file(from_filepath).as_remote(), to_filepath, order, strategy)


def TransferToRemote(  # noqa: N802  # Covalent's spelling
    to_filepath: Path,
    from_filepath: Path | None = None,
    strategy: FileTransferStrategy | None = None,
    order: Order = Order.AFTER,
) -> FileTransfer:
    """A transfer of a file of this machine to a remote place, after an electron has run.

    Args:
        to_filepath: The remote place.
        from_filepath: The file; left out, a temporary one, which the electron is to write.
        strategy: How; see `FileTransfer`. A path of another machine needs an `Rsync`.
        order: Before the electron or after it.

    Raises:
        WrongSetting: there is no way from the one to the other.

    >>> TransferToRemote("gs://bucket/out.csv", "/tmp/out.csv")
    FileTransfer(/tmp/out.csv -> gs://bucket/out.csv, after, GCloud())
    """
    return FileTransfer(from_filepath, as_file(to_filepath).as_remote(), order, strategy)


def _strategy_for(source: File, destination: File) -> FileTransferStrategy:
    remote = next((file for file in (source, destination) if not is_local(file)), None)
    if remote is None:
        return Shutil()
    if is_blob(remote):
        return Blob()
    known = {"file": Rsync, "http": HTTP, "https": HTTP, "s3": S3, "gs": GCloud}
    if remote.scheme not in known:
        raise WrongSetting(
            setting=f"the strategy for {remote}",
            got="left out",
            expected="given: none of qcov's knows such a URL",
        )
    return known[remote.scheme]()
