"""The list of what an attacker tries, as tests against a real engine with its server.

Each test's docstring begins with its number. What needs no engine has been tested beside what it
belongs to:

| number | what | where |
|---|---|---|
| 1 | every route without the right token, readers too | `test_strangers.py`, `tests/unit/server/test_guard.py` |
| 2 | Host headers | `test_guard.py`: `foreign_host_header`, `its_own_names`, `two_host_headers` |
| 3 | other sites, with a session | `test_guard.py`: `other_sites`, `link_from_another_site`, `login_link_in_a_mail`, `link_from_a_notebook`, `other_methods` |
| 3 | other servers on the machine, with a session's cookie | `test_guard.py`: `cookie_alone`, `tells_the_key` |
| 4 | bodies that forms can send | `test_guard.py`: `only_json_changes_anything` |
| 5 | streams, before they begin | `test_strangers.py` |
| 6 | preflights | `test_guard.py`: `no_preflight` |
| 7 | paths | `test_payloads.py`, `tests/unit/store/test_blobs.py` |
| 8 | pickles are never loaded | `test_payloads.py` |
| 9, 10 | tampered blobs, versions | `test_payloads.py`, `tests/unit/test_transport.py` |
| 11 | files | `test_files.py` |
| 12 | sockets | `test_sockets.py` |
| 13 | secrets | `test_secrets.py` |
| 14 | text from users | `test_markup.py`, `tests/unit/test_inert.py` |
| 15 | limits | `test_limits.py`, `tests/unit/server/test_connections.py` |
| 16 | SQL | `test_sql.py` |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from qcov.classical.engine.client import connect
from tests.conftest import stop_engine


@dataclass(frozen=True, kw_only=True)
class Site:
    """An engine with its server."""

    url: str
    folder: Path
    pid: int
    login: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def token(self) -> str:
        return (self.folder / "server.token").read_text()

    def client(self, token: str | None = None) -> httpx.Client:
        """Of the owner, or of who has `token`."""
        headers = {"authorization": f"Bearer {self.token if token is None else token}"}
        return httpx.Client(
            base_url=self.url, headers=headers, trust_env=False, verify=False, timeout=60
        )


def serve(folder: Path) -> Site:
    """The engine of the folder that is set, with its server."""
    client = connect(start=True)
    about = client.call("serve", host="localhost", port=0)
    client.close()
    return Site(url=about["url"], folder=folder, pid=about["pid"], login=about["login"])


@pytest.fixture(scope="session")
def _served_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("served") / "data"
    yield folder
    stop_engine(folder)


@pytest.fixture
def site(data_folder: Path, _served_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """One for all tests that leave it as it was."""
    monkeypatch.setenv("QCOV_DATA_DIR", str(_served_folder))
    return serve(_served_folder)


@pytest.fixture
def own_site(data_folder: Path) -> Site:
    """One for this test alone."""
    return serve(data_folder)
