"""A PostgreSQL server of the tests' own, on loopback, and databases in it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.services.ports import free_port

_USER = "postgres"


def absent(what: str, how: str) -> str:
    """Skip the test, with the reason; in CI everything must be there."""
    reason = f"no {what} here; {how} brings it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _program(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = ":".join([*map(str, folders), os.environ["PATH"]])
    return shutil.which(name, path=path) or absent("PostgreSQL", "`apt-get install postgresql`")


class Server:
    """One server; it belongs to the user `postgres` where the tests run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as = {"user": _USER, "group": _USER} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(folder, _USER, _USER)
        command = [_program("initdb"), "-D", folder / "data", "-U", _USER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as)

    def start(self) -> None:
        """Let it serve; return when it does."""
        command = [_program("postgres"), "-D", self.folder / "data", "-p", str(self.port)]
        for setting in ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}"):
            command += ["-c", setting]
        command += ["-c", "fsync=off", "-c", "max_connections=200"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, cwd="/", **self._as)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still: connections stay, and nothing is answered."""
        assert self._process is not None
        number = self._process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        stopped = [number, *map(int, children)]
        try:
            _tell(stopped, signal.SIGSTOP)
            yield
        finally:
            _tell(stopped, signal.SIGCONT)

    def create(self) -> str:
        """A new, empty database; returns its URL."""
        name = f"test_{secrets.token_hex(4)}"
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    @contextlib.contextmanager
    def read_only(self, url: str) -> Iterator[None]:
        """A database writes nothing, like one that has become a standby."""
        name = url.rpartition("/")[2]

        def let(setting: str) -> None:
            self._execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {setting}")
            connected = f"FROM pg_stat_activity WHERE datname = '{name}'"
            self._execute(f"SELECT pg_terminate_backend(pid, 10000) {connected}")

        let("on")
        try:
            yield
        finally:
            let("off")

    def url(self, name: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            self._execute("SELECT 1")
            return True
        return False


def _tell(processes: Iterable[int], number: signal.Signals) -> None:
    for each in processes:
        with contextlib.suppress(ProcessLookupError):  # its client has gone meanwhile
            os.kill(each, number)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    if importlib.util.find_spec("psycopg") is None:
        absent("psycopg", "`make setup`")
    folder = Path(
        tempfile.mkdtemp(prefix="qcov-pg-", dir="/tmp")
    )  # the server's user must reach it
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(postgresql_server: Server) -> Iterator[str]:
    """An empty database."""
    url = postgresql_server.create()
    yield url
    postgresql_server.drop(url)
