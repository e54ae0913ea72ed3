"""Objects in S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qcov.classical.files.file import File
from qcov.classical.files.object_store import Bucket, ObjectStore
from qcov.classical.files.strategy import library


class S3(ObjectStore):
    """Transfers files and folders from and to S3, `s3://bucket/key`.

    Without arguments, credentials, region and endpoint are found as every AWS program finds them,
    where the electron runs: in the environment, in `~/.aws`, from the machine's role.

    Args:
        credentials: The path of a credentials file, where the electron runs.
        profile: The name of a profile in it.
        region_name: The region.

    >>> S3(profile="lab").download("s3://bucket/points.csv", "/tmp/points.csv").source
    File('s3://bucket/points.csv')
    """

    form = "s3://bucket/key"
    secret = ("credentials",)

    def __init__(
        self,
        credentials: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        region_name: str | None = None,
    ) -> None:
        self.credentials = None if credentials is None else os.fspath(credentials)
        self.profile = profile
        self.region_name = region_name

    def place_of(self, file: File) -> tuple[str, str]:
        """Bucket and key."""
        return file.host_and_path if file.scheme == "s3" else ("", "")

    def bucket_of(self, file: File) -> Bucket:
        """Connect to a bucket."""
        return _S3Bucket(self._client(), file.host_and_path[0])

    def _client(self) -> Any:
        boto3, session = (library(name, "aws", self) for name in ("boto3", "botocore.session"))
        core, profile = session.Session(), self.profile
        if self.credentials is not None:
            path = Path(self.credentials).expanduser()
            path.open("rb").close()  # AWS would look elsewhere in silence
            core.set_config_variable("credentials_file", str(path))
            profile = profile or "default"  # a profile that is named goes before the environment
        return boto3.Session(
            botocore_session=core, profile_name=profile, region_name=self.region_name
        ).client("s3")


class _S3Bucket:
    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def get(self, name: str, path: Path) -> None:
        self._client.download_file(self._bucket, name, str(path))

    def put(self, path: Path, name: str) -> None:
        self._client.upload_file(str(path), self._bucket, name)

    def names(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
            yield from (found["Key"] for found in page.get("Contents", ()))
