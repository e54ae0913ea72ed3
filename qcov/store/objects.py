"""Large payloads at a URL of fsspec's: objects in a bucket, or files on some other server.

Each process has a connection of its own: fsspec's file systems do not survive a fork. What went
wrong is told without what could be secret: a provider's message may quote a signed URL or a key.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import secrets
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from qcov.errors import IntegrityError, QcovError, StoreUnavailable
from qcov.store.blobs import checked

#: How environment variables begin that fsspec heeds, and those who make connections for it.
VARIABLES = (
    *("FSSPEC_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_AMAZON = ("AWS_", "BOTO_")
_GOOGLE = ("GOOGLE_", "GCSFS_", "CLOUDSDK_", "STORAGE_EMULATOR_HOST")
_AZURE = ("AZURE_", "IDENTITY_", "MSI_")
#: The same for a kind of URL.
VARIABLES_OF = {
    **dict.fromkeys(("s3", "s3a"), _AMAZON),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("abfs", "abfss", "az"), _AZURE),
}

#: Stores that show an object only when all of it is there. Elsewhere a draft is renamed.
_WHOLE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
#: Which extra of qcov's brings the package.
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "aws"),
    **dict.fromkeys(("gs", "gcs"), "gcp"),
    **dict.fromkeys(("abfs", "abfss", "az"), "azure"),
}

_WORTH_ASKING = 1 << 20  # bytes: it is quicker to send less than to ask whether it is there
_RECENT = 1800.0  # seconds: what is older is written again, so that `ages` tells that it is needed
_AT_A_TIME = 16  # questions
_TOLD = 300  # characters of a provider's message

#: What the times of an object are called, by different providers.
_TIMES = ("LastModified", "mtime", "last_modified", "modified", "updated")
#: Options whose values must not be seen.
_SECRETS = ("key", "secret", "token", "password", "sas", "credential", "connection_string")
_SECRET_FROM = 6  #: characters: what is shorter is a word of the message
_QUERY = re.compile(r"\?[\w%.-]+=[^\s'\"<>]*")

_BUSY = (errno.EBUSY, errno.ENOSPC, errno.EDQUOT, errno.EHOSTUNREACH, errno.ENETUNREACH)
#: Classes of the providers' errors that say that a server is away.
_AWAY = {
    *("ConnectionError", "HTTPClientError"),  # botocore
    *("ClientConnectionError", "ClientPayloadError"),  # aiohttp
    *("ServiceRequestError", "ServiceResponseError"),  # azure
    "TransportError",  # google
}
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    """A file system of fsspec's, in the process that made it."""

    process: int
    system: Any
    root: str  #: the bucket and what stands before each name
    turn: AbstractContextManager[Any]  #: some systems serve one thread at a time


class Objects:
    """Payloads at a URL; see `blobs.Payloads`.

    Args:
        url: Such as `s3://bucket/prefix`.
        variables: The environment variables to reach it with, if not those that the process has at
            the time. Electrons change them.
    """

    remote = True

    def __init__(self, url: str, *, variables: Mapping[str, str] | None = None) -> None:
        self.location = url.rstrip("/")
        self._scheme = url.partition("://")[0]
        self._variables = variables
        self._options: Mapping[str, Any] = {}
        self._connection: _Connection | None = None

    def check(self) -> None:
        """Write a small object, so that what is wrong is told before anything was computed."""
        with self._connected() as connection:
            self._put(connection, "qcov", b"Here are payloads of qcov.\n")

    def write(self, digest: str, data: bytes) -> None:
        """Put a payload there, unless it was put there recently."""
        name = _name_of(digest)
        with self._connected() as connection:
            if not _has_recent(connection, name, len(data)):
                self._put(connection, name, data)

    def read(self, digest: str) -> bytes:
        """The bytes of a payload."""
        name = _name_of(digest)
        with self._connected() as connection:
            try:
                return cast("bytes", connection.system.cat_file(f"{connection.root}/{name}"))
            except FileNotFoundError as error:
                if _code(error) in _NO_BUCKET:
                    raise
                reason = f"its object in {self.location} is gone"
                raise IntegrityError(blob=digest, reason=reason) from error

    def ages(self, digests: Iterable[str]) -> Mapping[str, float]:
        """When they were last written."""
        with self._connected() as connection:
            asked = [(digest, _name_of(digest)) for digest in digests]
            with ThreadPoolExecutor(_AT_A_TIME if connection.system.async_impl else 1) as threads:
                found = list(threads.map(partial(_about, connection), [name for _, name in asked]))
        pairs = [(digest, about) for (digest, _), about in zip(asked, found, strict=True)]
        return {digest: _written(about) for digest, about in pairs if about is not None}

    def remove(self, digests: Iterable[str]) -> None:
        """Remove them, many with one request where that is possible."""
        with self._connected() as connection:
            paths = [f"{connection.root}/{_name_of(digest)}" for digest in digests]
            if paths:
                with suppress(FileNotFoundError):
                    connection.system.rm(paths)

    def passes(self, error: StoreUnavailable) -> bool:
        """True if the server is away, busy or full, not if it refuses."""
        return error.__cause__ is not None and _passes(error.__cause__)

    def _put(self, connection: _Connection, name: str, data: bytes) -> None:
        path = f"{connection.root}/{name}"
        if self._scheme in _WHOLE:
            connection.system.pipe_file(path, data)
            return
        connection.system.makedirs(path.rpartition("/")[0], exist_ok=True)
        draft = f"{path}.{secrets.token_hex(4)}"
        connection.system.pipe_file(draft, data)
        connection.system.mv(draft, path)

    # -- the connection

    @contextmanager
    def _connected(self) -> Generator[_Connection, None, None]:
        """This process's connection; its errors become ours."""
        try:
            connection = self._connection
            if connection is None or connection.process != os.getpid():
                connection = self._connection = self._connect()
            with connection.turn:
                yield connection
        except QcovError:
            raise
        except Exception as error:  # each provider has errors of its own
            if not _passes(error):
                self._connection = None  # the next one may find other credentials
            raise self._unavailable(error) from error

    def _connect(self) -> _Connection:
        fsspec = importlib.import_module("fsspec")
        with _having(self._variables):
            self._options = _options(fsspec, self._scheme)
            system, root = fsspec.core.url_to_fs(
                self.location,
                **self._options,
                skip_instance_cache=True,
                use_listings_cache=False,
            )
            if self._scheme in ("s3", "s3a"):  # it looks for credentials when it connects
                system.connect()
        turn = nullcontext() if system.async_impl else threading.Lock()
        return _Connection(process=os.getpid(), system=system, root=root.rstrip("/"), turn=turn)

    # -- what went wrong

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        extra = _EXTRAS.get(self._scheme)
        advice = (
            "Is the server up, and are workflow_data.base_dir and the credentials right? "
            "An engine that runs keeps those that it was started with (`qcov stop`)."
        )
        if isinstance(error, FileNotFoundError):
            advice = "Make the bucket, or set workflow_data.base_dir to one that is there."
        elif isinstance(error, ImportError):
            command = f"pip install 'qcov[{extra}]'" if extra else "pip install, with that name"
            advice = f"Install what is missing: {command}."
        reason = self._without_secrets(_said(error))
        return StoreUnavailable(path=self.location, reason=reason, advice=advice)

    def _without_secrets(self, text: str) -> str:
        text = _QUERY.sub("?***", text)
        for known in (self._options, os.environ, self._variables or {}):
            for secret in _secrets_in(known):
                text = text.replace(secret, "***")
        return text[:_TOLD]


def _options(fsspec: Any, scheme: str) -> dict[str, Any]:
    """What fsspec's own files and variables say of this kind of file system."""
    known: dict[str, dict[str, Any]] = {}
    fsspec.config.set_conf_files(fsspec.config.conf_dir, known)
    fsspec.config.set_conf_env(known, os.environ)
    return fsspec.config.apply_config(fsspec.get_filesystem_class(scheme), {}, known)


def _name_of(digest: str) -> str:
    return f"{checked(digest)[:2]}/{digest}"


def _about(connection: _Connection, name: str) -> Mapping[str, Any] | None:
    try:
        return cast("Mapping[str, Any]", connection.system.info(f"{connection.root}/{name}"))
    except FileNotFoundError:
        return None


def _has_recent(connection: _Connection, name: str, size: int) -> bool:
    if size < _WORTH_ASKING:
        return False
    about = _about(connection, name)
    return (
        about is not None and about.get("size") == size and time.time() - _written(about) < _RECENT
    )


def _written(about: Mapping[str, Any]) -> float:
    """When an object was written; now, if that is not known: it stays."""
    when = next((about[name] for name in _TIMES if about.get(name) is not None), time.time())
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return float(when)


@contextmanager
def _having(variables: Mapping[str, str] | None) -> Generator[None, None, None]:
    """Have these environment variables for a moment."""
    if variables is None:
        yield
        return
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _secrets_in(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets_in(cast("Mapping[str, Any]", value))
        elif isinstance(value, str) and _is_secret(name, value):
            yield value


def _is_secret(name: str, value: str) -> bool:
    return len(value) >= _SECRET_FROM and any(word in name.lower() for word in _SECRETS)


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{text} ({type(error).__name__})" if text else type(error).__name__


def _code(error: BaseException) -> str:
    """What S3 or Azure call an error."""
    cause = error.__cause__ or error
    response = getattr(cause, "response", None)
    if isinstance(response, dict):
        return str(cast("dict[str, dict[str, Any]]", response).get("Error", {}).get("Code", ""))
    return str(getattr(cause, "error_code", ""))


def _status(error: BaseException) -> int:
    """The status of HTTP that an error came with; 0 if none is known."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        about = cast("dict[str, dict[str, Any]]", response).get("ResponseMetadata", {})
        return int(about.get("HTTPStatusCode", 0))
    status = str(getattr(error, "status_code", None) or getattr(error, "code", ""))
    return int(status) if status.isdecimal() else 0


def _passes(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _BUSY:
        return True
    if status := _status(error) or _status(error.__cause__ or error):
        return status >= 500 or status in (408, 429)
    return any(kind.__name__ in _AWAY for kind in type(error).__mro__)
