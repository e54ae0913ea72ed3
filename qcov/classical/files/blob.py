"""Blobs in Azure's storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from qcov.classical.files.file import File
from qcov.classical.files.object_store import Bucket, ObjectStore
from qcov.classical.files.strategy import library
from qcov.errors import WrongSetting

#: Blob storage of Azure's own clouds, by what their host names have in them.
_HOSTS = (".blob.core.", ".blob.storage.")


class Blob(ObjectStore):
    """Transfers files and folders from and to Azure's blob storage.

    URLs are `https://account.blob.core.windows.net/container/name`; one with a shared access
    signature (`?sv=...&sig=...`) needs no other credentials. The URL of an emulator of this
    machine has the account in its path: `http://127.0.0.1:10000/account/container/name`.

    Args:
        client_id: A service principal; left out, Azure's libraries find the credentials of the
            machine where the electron runs.
        client_secret: Its secret. It is stored with the dispatch, but never shown; the environment
            variable AZURE_CLIENT_SECRET, with AZURE_CLIENT_ID and AZURE_TENANT_ID, is not stored.
        tenant_id: Its tenant.

    Raises:
        WrongSetting: some of the three are missing.

    >>> Blob(client_id="1", client_secret="2", tenant_id="3")
    Blob(credentials=...)
    """

    form = "https://account.blob.core.windows.net/container/name"
    secret = ("credentials",)

    def __init__(
        self,
        client_id: str | None = None,
        client_secret: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        given = (client_id, client_secret, tenant_id)
        if any(given) and not all(given):
            raise WrongSetting(
                setting="client_id, client_secret and tenant_id of Blob",
                got="some of them only",
                expected="given together, or none of them",
            )
        self.credentials = given if all(given) else None

    def place_of(self, file: File) -> tuple[str, str]:
        """Container and name."""
        container, _, name = _path_in_account(file).partition("/")
        return container, unquote(name)

    def bucket_of(self, file: File) -> Bucket:
        """Connect to a container."""
        storage = library("azure.storage.blob", "azure", self)
        path = _path_in_account(file)
        account = file.filepath.partition("?")[0].removesuffix(path).rstrip("/")
        credential = None if "sig=" in file.query else self._credential()
        service = storage.BlobServiceClient(account + file.query, credential=credential)
        return _Container(service.get_container_client(self.place_of(file)[0]))

    def _credential(self) -> Any:
        identity = library("azure.identity", "azure", self)
        if self.credentials is None:
            return identity.DefaultAzureCredential()
        client, secret, tenant = map(str, self.credentials)
        return identity.ClientSecretCredential(tenant, client, secret)


def is_blob(file: File) -> bool:
    """True for a URL of Azure's blob storage."""
    host = file.host_and_path[0]
    return file.scheme in ("http", "https") and any(part in host for part in _HOSTS)


def _path_in_account(file: File) -> str:
    """Container and name, as they stand in a URL."""
    if file.scheme not in ("http", "https"):
        return ""
    path = file.host_and_path[1]
    return path if is_blob(file) else path.partition("/")[2]


class _Container:
    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, name: str, path: Path) -> None:
        with path.open("wb") as file:
            self._client.download_blob(name).readinto(file)

    def put(self, path: Path, name: str) -> None:
        with path.open("rb") as file:
            self._client.upload_blob(name, file, overwrite=True)

    def names(self, prefix: str) -> Iterator[str]:
        # accounts with real folders list those, too, as blobs with a mark
        for blob in self._client.list_blobs(name_starts_with=prefix, include=["metadata"]):
            metadata: dict[str, str] = blob.metadata or {}
            if metadata.get("hdi_isfolder") != "true":
                yield blob.name
