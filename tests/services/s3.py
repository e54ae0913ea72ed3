"""A bucket in S3, as moto plays it in this process, and payloads in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.services.ports import free_port
from tests.services.postgresql import absent

_VARIABLES = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing-key-id",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_MAX_ATTEMPTS": "1",  # a server that is away need not be asked again and again
}


class Server:
    """One server; what is in it stays while it is stopped."""

    def __init__(self) -> None:
        self.port = free_port()
        self._thread: Any = None

    def start(self) -> None:
        """Let it serve, where it did before."""
        from moto.server import ThreadedMotoServer

        self._thread = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections."""
        self._thread.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Bucket:
    """A bucket of a test's own."""

    name: str
    server: Server

    @property
    def url(self) -> str:
        """Where payloads are."""
        return f"s3://{self.name}/some/payloads"

    @property
    def payloads(self) -> set[str]:
        """The digests of the payloads that are there."""
        return {name.rpartition("/")[2] for name in self._keys() if name.count("/") == 3}

    def alter(self, digest: str, data: bytes) -> None:
        """Put something else in a payload's place."""
        import boto3

        key = f"some/payloads/{digest[:2]}/{digest}"
        boto3.client("s3").put_object(Bucket=self.name, Key=key, Body=data)

    def age(self) -> None:
        """Let all that is there look as if it had lain there for a day."""
        for key in self._keys().values():
            key.last_modified = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1)

    def _keys(self) -> dict[str, Any]:
        from moto.s3.models import s3_backends

        (account,) = s3_backends
        keys = s3_backends[account]["aws"].buckets[self.name].keys
        return {name: keys[name] for name in keys}


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[Server]:
    for name in ("moto", "s3fs", "boto3"):
        if importlib.util.find_spec(name) is None:
            absent(name, "`make setup`")
    importlib.import_module("fsspec")  # it keeps those of its variables that it is imported with
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(_s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and variables by which fsspec finds it."""
    import boto3

    for name, text in _VARIABLES.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_server.address)
    made = boto3.resource("s3").Bucket("payloads-of-a-test")
    made.create()
    yield Bucket(made.name, _s3_server)
    made.objects.all().delete()
    made.delete()
