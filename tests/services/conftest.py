"""Servers that are not part of qcov, each on this machine."""

from __future__ import annotations

import getpass
import importlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.ports import free_port


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.services)


def _absent(what: str, how: str) -> None:
    """In CI everything must be there."""
    reason = f"no {what} here; {how} brings it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def program(name: str, package: str) -> str:
    """Where a program is."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    return found or str(_absent(name, f"`apt-get install {package}`"))


def module(name: str) -> None:
    """Need a module that comes with the `dev` extra."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        _absent(name, "`make setup`")


@pytest.fixture
def rsync() -> None:
    program("rsync", "rsync")


@dataclass(frozen=True)
class SSHServer:
    """An sshd of this user's, on loopback."""

    folder: Path
    port: int
    user: str
    key: Path
    command: str  #: an ssh that knows the port and the host's key

    def command_with(self, **settings: str) -> str:
        options = " ".join(f"-o {name}={value}" for name, value in settings.items())
        return f"{self.command} {options}"


_SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
"""
_SSH = """
Host *
  Port {port}
  UserKnownHostsFile {folder}/known_hosts
  IdentityAgent none
"""


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    sshd = program("sshd", "openssh-server")
    program("ssh", "openssh-client")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "key", "other"):
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    for name, text in (("sshd_config", _SSHD), ("ssh_config", _SSH)):
        (folder / name).write_text(text.format(port=port, folder=folder))
    if os.getuid() == 0:  # systemd makes it where there is one
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("w")
    server = subprocess.Popen([sshd, "-De", "-f", folder / "sshd_config"], stderr=log)
    try:
        _wait_for(port, server, folder / "log")
        command = f"ssh -F {folder}/ssh_config"
        yield SSHServer(folder, port, getpass.getuser(), folder / "key", command)
    finally:
        server.terminate()
        server.wait(60)
        log.close()


@pytest.fixture
def ssh_server(_sshd: SSHServer, rsync: None, monkeypatch: pytest.MonkeyPatch) -> SSHServer:
    """A real sshd, which rsync and the workers of an engine find."""
    monkeypatch.setenv("RSYNC_RSH", _sshd.command)
    return _sshd


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        else:
            return
