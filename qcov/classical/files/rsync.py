"""The program rsync, on this machine and over ssh."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qcov.classical.files.file import File, placed
from qcov.classical.files.landing import make_folder
from qcov.classical.files.local import check_no_folder
from qcov.classical.files.strategy import FileTransferStrategy, check_local, is_local, move
from qcov.errors import DependencyFailed, WrongSetting

#: What needs no protection from the shell of another machine, in any version of rsync.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


class Rsync(FileTransferStrategy):
    """Transfers files and folders by `rsync`, over ssh where one of them is remote.

    ssh takes its settings, the port and known hosts among them, from its own files, and is never
    asked for a password: what it needs is a key. The environment variable RSYNC_RSH, rsync's own,
    names another command than `ssh`.

    Args:
        user: Who logs in; left out, ssh decides.
        host: The other machine.
        private_key_path: A private key, where the electron runs; left out, ssh decides.

    Raises:
        WrongSetting: `user` or `host` is no name.

    >>> rsync = Rsync(user="ana", host="cluster", private_key_path="/home/ana/.ssh/id_ed25519")
    >>> rsync.download(File("/data/in.csv", is_remote=True), "/tmp/in.csv").source
    File('/data/in.csv')
    """

    def __init__(
        self,
        user: str = "",
        host: str = "",
        private_key_path: str | os.PathLike[str] | None = None,
    ) -> None:
        for setting, text in (("user", user), ("host", host)):
            if text.startswith("-") or re.search(r"[\s\0/@]", text):  # ssh would see options
                raise WrongSetting(setting=f"{setting} of Rsync", got=repr(text), expected="a name")
        self.user, self.host = user, host
        self.private_key_path = None if private_key_path is None else os.fspath(private_key_path)

    def cp(self, from_file: File | str, to_file: File | str | None = None) -> Callable[[], None]:
        """Copy on this machine.

        Raises:
            WrongSetting: one of the files is remote.
        """
        made = move(self._copy, from_file, to_file)
        check_local(made.source, made.destination, strategy=self)
        return made

    def download(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Bring a file or a folder here from the host.

        Raises:
            WrongSetting: there is no host, or the file is not on it.
        """
        made = move(self._download, from_file, to_file)
        check_local(made.destination, strategy=self)
        self._check_remote(made.source)
        return made

    def upload(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Bring a file or a folder from here to the host.

        Raises:
            WrongSetting: there is no host, or the file is not to go there.
        """
        made = move(self._upload, from_file, to_file)
        check_local(made.source, strategy=self)
        self._check_remote(made.destination)
        return made

    def get_rsync_cmd(
        self, from_file: File, to_file: File, transfer_from_remote: bool = False
    ) -> str:
        """The command that copies on this machine, or between it and the host.

        Args:
            from_file: What is transferred.
            to_file: Where it goes.
            transfer_from_remote: `from_file` is on the host.
        """
        if transfer_from_remote or not is_local(from_file):
            return self.get_rsync_ssh_cmd(to_file, from_file, transfer_from_remote=True)
        if not is_local(to_file):
            return self.get_rsync_ssh_cmd(from_file, to_file)
        target = placed(from_file, to_file)
        ends = [_ending(from_file.filepath, from_file), _ending(target.filepath, target)]
        return shlex.join([*_options(from_file, target), *ends])

    def get_rsync_ssh_cmd(
        self, local_file: File, remote_file: File, transfer_from_remote: bool = False
    ) -> str:
        """The command that transfers between this machine and the host.

        Args:
            local_file: The file here.
            remote_file: The file there.
            transfer_from_remote: It comes from there; else it goes there.
        """
        self._check_remote(remote_file)
        if transfer_from_remote:
            target = placed(remote_file, local_file)
            options = _options(remote_file, target)
            ends = [self._there(remote_file), _ending(target.filepath, target)]
        else:
            target = placed(local_file, remote_file)
            options = [*_options(local_file, target), *_making_folder(target)]
            ends = [_ending(local_file.filepath, local_file), self._there(target)]
        if not all(map(_PLAIN.fullmatch, ends)):
            options.append("--protect-args")
        return shlex.join([*options, "-e", self._ssh(), *ends])

    def return_subprocess_callable(self, cmd: str) -> Callable[[], None]:
        """A function that runs a command of `get_rsync_cmd` or `get_rsync_ssh_cmd`."""
        return partial(_run, cmd)

    def _copy(self, source: File, destination: File) -> None:
        _check_source(source)
        make_folder(destination)
        _run(self.get_rsync_cmd(source, destination))

    def _download(self, source: File, destination: File) -> None:
        make_folder(destination)
        self._check_key()
        _run(self.get_rsync_ssh_cmd(destination, source, transfer_from_remote=True))

    def _upload(self, source: File, destination: File) -> None:
        _check_source(source)
        self._check_key()
        _run(self.get_rsync_ssh_cmd(source, destination))

    def _check_remote(self, file: File) -> None:
        if file.scheme != "file" or not file.is_remote:
            raise WrongSetting(
                setting="a file that Rsync is to read or write on its host",
                got=str(file),
                expected="a path with is_remote=True",
            )
        if not self.host:
            raise WrongSetting(
                setting=f"the strategy for the remote file {file}",
                got="Rsync without a host",
                expected="Rsync(user=..., host=...)",
            )

    def _check_key(self) -> None:
        if self.private_key_path is not None:
            Path(self.private_key_path).expanduser().open("rb").close()

    def _there(self, file: File) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{self.user}@{host}" if self.user else host
        # a path that is not absolute begins in the home folder; so no shell has to know `~`
        return f"{login}:{_ending(file.filepath.removeprefix('~/'), file)}"

    def _ssh(self) -> str:
        command = os.environ.get("RSYNC_RSH") or "ssh"
        command += " -o BatchMode=yes"  # nobody is there to be asked
        if self.private_key_path is not None:
            key = Path(self.private_key_path).expanduser()
            command += f" -o IdentitiesOnly=yes -i {shlex.quote(str(key))}"
        return command


def _options(source: File, destination: File) -> list[str]:
    """Contents, not links; with times and permissions."""
    options = ["rsync", "-Lptr" if source.is_dir else "-Lpt"]
    return [*options, "--chmod=go="] if destination.is_temporary else options


def _ending(path: str, file: File) -> str:
    """A path with the slash that makes rsync take what is in a folder, not the folder."""
    return f"{path.rstrip('/')}/" if file.is_dir else path


def _making_folder(remote: File) -> list[str]:
    path = remote.filepath.removeprefix("~/")
    folder = path if remote.is_dir else posixpath.dirname(path)
    return ["--rsync-path", f"mkdir -p {shlex.quote(folder)} && rsync"] if folder else []


def _check_source(source: File) -> None:
    if not source.is_dir:
        check_no_folder(Path(source.filepath))


def _run(command: str) -> None:
    """Run rsync. Raises `DependencyFailed`; `IsADirectoryError` where a file was meant."""
    try:
        ran = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise DependencyFailed(
            what="rsync is missing",
            reason="it is not installed where the electron runs",
            advice="Install it there; files of one machine can be copied by Shutil, too.",
        ) from error
    if ran.returncode != 0:
        raise DependencyFailed(
            what=f"the command `{command}` failed",
            reason=f"exit status {ran.returncode}",
            advice=" ".join(ran.stderr.split())[-1000:],
        )
    if "skipping directory" in ran.stdout:  # and rsync calls that a success
        raise IsADirectoryError(
            errno.EISDIR, "it is a folder: make it a Folder, or end its path with a slash"
        )
