"""Requests to Amazon Braket and S3, by boto3, with errors in qcov's words.

Where credentials, region and endpoints come from is boto3's business: environment, files, roles.
Nothing of it is kept here but the session, which stays in its process.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from qcov.errors import (
    CircuitError,
    CircuitRejected,
    ExecutorOffline,
    InvalidSetting,
    QuotaExceeded,
    TransientFailure,
)
from qcov.qexecutors.braket_facts import below
from qcov.version import __version__

_CONNECT, _READ = 10, 60  # seconds
_PAUSES = (0.5, 1.0)  # seconds before a task that was refused for now is asked for again
_GONE = "Choose another device, or wait"
_ALLOW = "See docs/how-to/braket.md for what the role or user must be allowed"
_RENEW = "Renew the credentials of AWS, with `aws sso login` for example"
_RAISE = "Wait, or ask AWS to raise the account's quota"
#: What codes of AWS mean for circuits, and what to do.
_BY_CODE: dict[str, tuple[type[CircuitError], str]] = {
    "ThrottlingException": (TransientFailure, ""),
    "Throttling": (TransientFailure, ""),
    "TooManyRequestsException": (TransientFailure, ""),
    "SlowDown": (TransientFailure, ""),
    "NoSuchKey": (TransientFailure, ""),
    "ExpiredToken": (QuotaExceeded, _RENEW),
    "ExpiredTokenException": (QuotaExceeded, _RENEW),
    "RequestExpired": (QuotaExceeded, _RENEW),
    "ServiceQuotaExceededException": (QuotaExceeded, _RAISE),
    "DeviceOfflineException": (ExecutorOffline, _GONE),
    "DeviceRetiredException": (ExecutorOffline, _GONE),
    "ValidationException": (CircuitRejected, ""),
}
#: Errors of botocore by which no answer came, by their names or those of their bases.
_UNREACHED = frozenset({"HTTPClientError", "ConnectionError", "IncompleteReadError"})
#: Errors of botocore after which no request can have arrived.
_NOT_SET_UP = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        *("SSOError", "TokenRetrievalError", "NoRegionError", "ProfileNotFound"),
        *("ParamValidationError", "InvalidRegionError"),
    }
)
_NO_CONNECTION = frozenset({"EndpointConnectionError", "ConnectTimeoutError"})
_NEVER_SENT = _NOT_SET_UP | _NO_CONNECTION


class AwsConnection:
    """Clients of one session, in the region of one device. Several threads may use it at once.

    Args:
        device: The device's ARN, of which errors speak.
        executor: The executor's name.
        session: A `boto3.Session`, or an `AwsSession` of Braket's SDK; None for a new one.
        profile: The profile of a new session.
        max_connections: How many connections may be open.
    """

    def __init__(
        self, *, device: str, executor: str, session: Any, profile: str | None, max_connections: int
    ) -> None:
        self._device, self._executor = device, executor
        boto3, config = _boto3(executor), importlib.import_module("botocore.config")
        self._config = config.Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            max_pool_connections=max_connections,
            retries={"total_max_attempts": 3, "mode": "standard"},
            user_agent_extra=f"qcov/{__version__}",
        )
        self._session = getattr(session, "boto_session", session)
        try:
            if self._session is None:
                self._session = boto3.Session(profile_name=profile)
            self.region = _region_of(device) or self._session.region_name or _region_by_default()
            endpoint = os.environ.get("BRAKET_ENDPOINT")  # as Braket's SDK has it
            self._braket = self._client("braket", endpoint_url=endpoint)
            # An attempt that boto3 made by itself and whose answer is lost may have made what the
            # last attempt was refused: then the refusal would say nothing.
            self._config = self._config.merge(config.Config(retries={"total_max_attempts": 1}))
            self._once = self._client("braket", endpoint_url=endpoint)
            self._s3 = self._client("s3")
        except Exception as error:
            raise self._told(error, "connect") from error

    def _client(self, service: str, **options: Any) -> Any:
        return self._session.client(
            service, region_name=self.region, config=self._config, **options
        )

    def braket(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a request to Braket, such as "get_device"."""
        return self._asked(self._braket, operation, arguments)

    def make_task(self, **arguments: Any) -> dict[str, Any]:
        """The answer to `CreateQuantumTask`, asked again only if there surely is no task yet."""
        for pause in _PAUSES:
            try:
                return self._asked(self._once, "create_quantum_task", arguments)
            except TransientFailure as error:
                if was_sent(error) is not False:
                    raise
                time.sleep(pause)
        return self._asked(self._once, "create_quantum_task", arguments)

    def account(self) -> str:
        """The number of the account; empty if nobody tells it."""
        with suppress(CircuitError):
            answer = self._asked(self._client("sts"), "get_caller_identity", {})
            return str(answer["Account"])
        return ""

    def read(self, bucket: str, key: str) -> Any:
        """A JSON document in S3."""
        answer = self._asked(self._s3, "get_object", {"Bucket": bucket, "Key": key})
        try:
            return json.loads(answer["Body"].read())
        except ValueError as error:
            reason = f"s3://{bucket}/{key} is not complete: {error}"
            raise CircuitError(executor=self._executor, reason=reason) from error
        except Exception as error:
            raise self._told(error, "get_object") from error

    def make_bucket(self, bucket: str) -> None:
        """Make the bucket that Braket writes to by default, unless it is there."""
        try:
            self._asked(self._s3, "head_bucket", {"Bucket": bucket})
        except CircuitError as error:
            if _code(error.__cause__) not in ("404", "NoSuchBucket"):
                return  # it is there, and not ours to look at
            where = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
            options = {"CreateBucketConfiguration": where} if where else {}
            self._asked(self._s3, "create_bucket", {"Bucket": bucket, **options})

    def _asked(self, client: Any, operation: str, arguments: Mapping[str, Any]) -> Any:
        try:
            return getattr(client, operation)(**arguments)
        except Exception as error:
            raise self._told(error, operation) from error

    def _told(self, error: Exception, operation: str) -> Exception:
        """An error of boto3 in our words; its own are the cause."""
        if isinstance(error, CircuitError):
            return error
        kind, advice = _meaning(error)
        said = f"{_words(error)} ({operation}, {self._device})"
        return kind(executor=self._executor, reason=said + (f". {advice}" if advice else ""))


def was_sent(error: BaseException) -> bool | None:
    """After a request failed: False if it did nothing, None if that cannot be known."""
    cause = error.__cause__ if isinstance(error, CircuitError) else error
    status = _status(cause)
    if status is not None:
        first = not _said(cause, "ResponseMetadata").get("RetryAttempts")
        return False if 400 <= status < 500 and first else None
    return False if _names(cause) & _NEVER_SENT or cause is None else None


def is_unknown(error: CircuitError) -> bool:
    """Whether AWS says that what was asked about does not exist."""
    return _code(error.__cause__) == "ResourceNotFoundException"


def _meaning(error: Exception) -> tuple[type[CircuitError], str]:
    """Which error of ours one of boto3 is, and what to do."""
    code, names, status = _code(error), _names(error), _status(error) or 0
    if code == "ValidationException" and "spending limit" in _words(error).lower():
        return QuotaExceeded, "Raise the spending limit of the device at Amazon Braket"
    if code in _BY_CODE:
        return _BY_CODE[code]
    if names & _NO_CONNECTION:
        return ExecutorOffline, ""
    if status >= 500 or names & _UNREACHED:
        return TransientFailure, ""
    if names & _NOT_SET_UP:
        return CircuitError, "Give boto3 credentials and a region; see docs/how-to/braket.md"
    return CircuitError, _ALLOW if status == 403 else ""


def _said(error: BaseException | None, part: str) -> Mapping[str, Any]:
    """A part of the answer that an error of boto3 was made from."""
    response: Any = getattr(error, "response", None)
    return below(cast("Mapping[str, Any]", response), part) if isinstance(response, dict) else {}


def _code(error: BaseException | None) -> str:
    return str(_said(error, "Error").get("Code", ""))


def _status(error: BaseException | None) -> int | None:
    return _said(error, "ResponseMetadata").get("HTTPStatusCode")


def _words(error: Exception) -> str:
    message = _said(error, "Error").get("Message") or error
    return f"{_code(error) or type(error).__name__}: {message}"


def _names(error: BaseException | None) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def _region_of(arn: str) -> str | None:
    return (arn.split(":") + [""] * 4)[3] or None


def _region_by_default() -> str | None:
    return os.environ.get("AWS_REGION")


def _boto3(executor: str) -> Any:
    try:
        return importlib.import_module("boto3")
    except ImportError as error:
        raise InvalidSetting(
            executor=executor,
            setting="device_arn",
            reason="needs boto3, which is not installed. Run: pip install 'qcov[aws]'",
        ) from error
