"""What errors of IBM Quantum say: about another try, and about a job that may have been made.

Codes are those of IBM's registry, https://quantum.cloud.ibm.com/docs/errors. The SDK raises many of
its errors `from None` and without a status; what it has seen is still in their context.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from qcov import policy
from qcov.errors import (
    CircuitRejected,
    ExecutorOffline,
    QcovError,
    QuantumError,
    QuotaExceeded,
    TransientFailure,
)
from qcov.policy import ErrorKind

_CODE = re.compile(r"(?:Error code:? |\"code\":\s*)(\d{4})")
_SAID = re.compile(r"for url: \S+?\. (.+?), Error code: (\d+)")
_TOO_MANY = re.compile(r"too many (5\d\d) error responses")
_KINDS_OF_CODES = {
    1004: ErrorKind.OFFLINE,  # the backend is not available
    1006: ErrorKind.TRANSIENT,  # what IBM says to try again
    1008: ErrorKind.TRANSIENT,
    1010: ErrorKind.TRANSIENT,
    1011: ErrorKind.TRANSIENT,
    1217: ErrorKind.TRANSIENT,  # the session or batch was closed; the next run has a new one
    1219: ErrorKind.TRANSIENT,
    1012: ErrorKind.QUOTA,  # too many jobs wait
    3458: ErrorKind.QUOTA,
    4317: ErrorKind.QUOTA,  # the month's time is used up
}
_KINDS_OF_STATUSES = {
    402: ErrorKind.QUOTA,
    408: ErrorKind.TRANSIENT,
    429: ErrorKind.TRANSIENT,
    503: ErrorKind.OFFLINE,
}
_CLASSES = {
    ErrorKind.TRANSIENT: TransientFailure,
    ErrorKind.QUOTA: QuotaExceeded,
    ErrorKind.OFFLINE: ExecutorOffline,
    ErrorKind.PERMANENT: CircuitRejected,
}
_FOR_GOOD = frozenset({401, 403, 404})  #: whatever code comes with them
#: Of requests and urllib3: nobody was reached.
_UNREACHED = frozenset({"NewConnectionError", "ConnectTimeoutError", "NameResolutionError"})
_REFUSED = range(400, 500)
_UNKNOWN = 404
_UNREADABLE = (json.JSONDecodeError, UnicodeError)


def kind_of(error: BaseException) -> ErrorKind:
    """What an error says about another try."""
    causes = list(_causes(error))
    if any(_status(one) in _FOR_GOOD for one in causes):
        return ErrorKind.PERMANENT
    for one in causes:
        kind = _kind_of_one(one)
        if kind is not None:
            return kind
    return policy.classify(error)


def _kind_of_one(error: BaseException) -> ErrorKind | None:
    text = _text(error)
    code = _CODE.search(text)
    if code is not None and int(code[1]) in _KINDS_OF_CODES:
        return _KINDS_OF_CODES[int(code[1])]
    if _TOO_MANY.search(text):
        return ErrorKind.TRANSIENT
    if _was_unreached(error):
        return ErrorKind.OFFLINE
    status = _status(error)
    if status is None:
        return None
    return _KINDS_OF_STATUSES.get(status, _kind_of_status(status))


def _kind_of_status(status: int) -> ErrorKind:
    return ErrorKind.PERMANENT if status in _REFUSED else ErrorKind.TRANSIENT


def as_ours(error: BaseException, executor: str) -> Exception:
    """An error of the SDK's as one of qcov's, which says the same; qcov's own stay as they are."""
    if isinstance(error, QcovError):
        return error
    ours = _CLASSES[kind_of(error)](f"IBM Quantum says: {_brief(error)}", executor=executor)
    ours.__cause__ = error
    return ours


def _brief(error: BaseException) -> str:
    """What IBM has said, without what the SDK has put around it; else all of it."""
    text = _text(error)
    said = _SAID.search(text)
    return f"{said[1]} (error code {said[2]})" if said else text.strip("'\"")


def was_sent(error: BaseException) -> bool | None:
    """Whether a job may have been made although asking for it failed.

    False: there is none, for it was refused, or never asked for. None: nobody can tell.
    """
    if isinstance(error, TimeoutError):
        return None
    causes = list(_causes(error))
    if any(_status(one) in _REFUSED or _was_unreached(one) for one in causes):
        return False
    requests = [one for one in map(_request_of, causes) if one is not None]
    if requests:
        return None if any(_asks_for_a_job(request) for request in requests) else False
    # What the SDK itself refuses, before it asks; what it cannot read came after that.
    refused = isinstance(error, ValueError | QuantumError)
    return False if refused and not any(isinstance(one, _UNREADABLE) for one in causes) else None


def is_unknown(error: BaseException) -> bool:
    """Whether IBM does not know what was asked for."""
    return any(_status(one) == _UNKNOWN for one in _causes(error))


def _asks_for_a_job(request: Any) -> bool:
    return request.method == "POST" and str(request.url).rstrip("/").endswith("/jobs")


def _request_of(error: BaseException) -> Any:
    request = getattr(error, "request", None)
    return request if hasattr(request, "method") else None


def _status(error: BaseException) -> int | None:
    """The status of an answer, where an error knows it."""
    response = getattr(error, "response", None)
    found = getattr(response, "status_code", getattr(error, "status_code", None))
    return found if isinstance(found, int) and found > 0 else None


def _was_unreached(error: BaseException) -> bool:
    reason: Any = error
    names: set[str] = set()
    for _ in range(4):  # requests wraps urllib3's, which keeps the reason
        names.add(type(reason).__name__)
        inner = getattr(reason, "reason", None) or next(iter(getattr(reason, "args", ())), None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    return bool(names & _UNREACHED) or isinstance(reason, ConnectionRefusedError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, also where that was to be left out."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # it only says that there is nothing to read
        return ""
