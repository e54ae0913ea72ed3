"""Objects in Google Cloud Storage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qcov.classical.files.file import File
from qcov.classical.files.object_store import Bucket, ObjectStore
from qcov.classical.files.strategy import library


class GCloud(ObjectStore):
    """Transfers files and folders from and to Google Cloud Storage, `gs://bucket/name`.

    Args:
        credentials: The path of a service account's JSON file, where the electron runs. Its text
            will do, too, but then it is stored with the dispatch. Left out, Google's libraries
            find the credentials of the machine where the electron runs.
        project_id: The project, where the credentials do not say it.

    >>> GCloud(credentials="/home/ana/key.json", project_id="lab")
    GCloud(credentials=..., project_id='lab')
    """

    form = "gs://bucket/name"
    secret = ("credentials",)

    def __init__(
        self, credentials: str | os.PathLike[str] | None = None, project_id: str | None = None
    ) -> None:
        self.credentials = None if credentials is None else os.fspath(credentials)
        self.project_id = project_id

    def place_of(self, file: File) -> tuple[str, str]:
        """Bucket and name."""
        return file.host_and_path if file.scheme == "gs" else ("", "")

    def bucket_of(self, file: File) -> Bucket:
        """Connect to a bucket."""
        return _GoogleBucket(self._client().bucket(file.host_and_path[0]))

    def _client(self) -> Any:
        client = library("google.cloud.storage", "gcp", self).Client
        if self.credentials is None:
            return client(project=self.project_id)
        text = self.credentials
        if not text.lstrip().startswith("{"):
            text = Path(text).expanduser().read_text(encoding="utf-8")
        project = {"project": self.project_id} if self.project_id else {}
        return client.from_service_account_info(json.loads(text), **project)


class _GoogleBucket:
    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket

    def get(self, name: str, path: Path) -> None:
        self._bucket.blob(name).download_to_filename(str(path))

    def put(self, path: Path, name: str) -> None:
        self._bucket.blob(name).upload_from_filename(str(path))

    def names(self, prefix: str) -> Iterator[str]:
        for blob in self._bucket.list_blobs(prefix=prefix):
            yield blob.name
