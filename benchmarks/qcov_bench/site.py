"""A server that is measured, as its clients see it."""

from __future__ import annotations

import http.client
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qcov.classical.engine import client


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where it is, and what requests have to carry."""

    port: int
    pid: int
    headers: dict[str, str]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def read(self, path: str) -> bytes:
        """What it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path, headers=self.headers)
        found = connection.getresponse().read()
        connection.close()
        return found


@contextmanager
def served(folder: Path) -> Generator[Site]:
    """The engine of a data folder, speaking HTTP."""
    told = client.call("serve", host="127.0.0.1", port=0)
    token = (folder / "server.token").read_text()
    yield Site(
        port=int(told["url"].rpartition(":")[2]),
        pid=told["pid"],
        headers={"authorization": f"Bearer {token}"},
    )


def login_link() -> str:
    """Lets one browser in."""
    return str(client.call("serve", host="127.0.0.1", port=0)["login"])
