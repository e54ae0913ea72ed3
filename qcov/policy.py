"""What follows a failure: decisions as values, for circuits and electrons alike.

Nothing here looks at a clock, draws a random number or waits: moments, chances and errors come in,
decisions go out. Whoever runs things acts on them; see `qcov.quantum.router`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias, cast

from qcov.errors import (
    CircuitRejected,
    ExecutorOffline,
    QuotaExceeded,
    TransientFailure,
)


class ErrorKind(StrEnum):
    """What an error says about another try."""

    TRANSIENT = "transient"  #: it may be gone the next time
    PERMANENT = "permanent"  #: it will come again, wherever the circuit runs
    QUOTA = "quota"  #: this executor takes no more for now; another one may
    OFFLINE = "offline"  #: this executor does not answer; another one may


# -- retry and failover ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to try again, and after how long.

    Args:
        retries: How many more tries after the first.
        delay: Seconds before the second try; each further one waits `factor` times as long.
        longest: Seconds that no wait is longer than.
    """

    retries: int = 0
    delay: float = 1.0
    factor: float = 2.0
    longest: float = 60.0

    def wait(self, number: int, chance: float) -> float:
        """Seconds before the retry with that number, 1 for the first.

        Tries that failed together must not come back together, so `chance`, a random number from 0
        to 1, takes off up to half of the wait.

        >>> [RetryPolicy(delay=1.0).wait(number, 0.0) for number in (1, 2, 3, 100)]
        [1.0, 2.0, 4.0, 60.0]
        """
        growth = self.factor ** min(number - 1, _MANY)
        return min(self.delay * growth, self.longest) * (1 - chance / 2)


_MANY = 64  # from here on every wait is the longest one; powers of more overflow


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again on the same executor."""

    wait: float  #: seconds


@dataclass(frozen=True, slots=True)
class FailOver:
    """Try on another executor."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error."""


Step: TypeAlias = Retry | FailOver | GiveUp


def next_step(
    failures: Sequence[ErrorKind], policy: RetryPolicy, *, others: bool, chance: float
) -> Step:
    """Decide what follows a failed try.

    Args:
        failures: What went wrong on this executor so far, oldest first; at least one.
        policy: The executor's.
        others: Whether another executor may take the circuit.
        chance: A random number from 0 to 1.

    >>> next_step([ErrorKind.TRANSIENT], RetryPolicy(retries=1), others=True, chance=0.0)
    Retry(wait=1.0)
    >>> next_step([ErrorKind.OFFLINE], RetryPolicy(retries=1), others=True, chance=0.0)
    FailOver()
    """
    last, number = failures[-1], len(failures)
    if last is ErrorKind.PERMANENT:
        return GiveUp()
    retry = Retry(policy.wait(number, chance)) if number <= policy.retries else None
    if last is ErrorKind.TRANSIENT and retry is not None:
        return retry
    if others:
        return FailOver()
    return retry if last is ErrorKind.OFFLINE and retry is not None else GiveUp()


# -- circuit breaker ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When to leave an executor alone.

    Args:
        failures: After how many in a row; 0 for never.
        pause: For how many seconds.
    """

    failures: int = 5
    pause: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Whether an executor is asked at all: closed, open for a pause, then half-open for one try.

    >>> policy = BreakerPolicy(failures=2, pause=30.0)
    >>> breaker = CLOSED.after(ErrorKind.OFFLINE, 0.0, policy).after(ErrorKind.OFFLINE, 1.0, policy)
    >>> breaker.allows(30.0), breaker.wait(30.0), breaker.allows(31.0)
    (False, 1.0, True)
    >>> breaker.after(None, 31.0, policy) == CLOSED
    True
    """

    failures: int = 0  #: in a row
    until: float | None = None  #: open till then

    def allows(self, now: float) -> bool:
        """Whether the executor may be asked now."""
        return self.until is None or now >= self.until

    def wait(self, now: float) -> float:
        """Seconds until it may be asked."""
        return 0.0 if self.until is None else max(0.0, self.until - now)

    def begin(self, now: float, policy: BreakerPolicy) -> Breaker:
        """What it is while a try goes on: a half-open one keeps all others away meanwhile."""
        return self if self.until is None else replace(self, until=now + policy.pause)

    def after(self, failure: ErrorKind | None, now: float, policy: BreakerPolicy) -> Breaker:
        """What it is after a try that failed, or did not (None)."""
        if failure is ErrorKind.QUOTA:
            return self
        if failure in (None, ErrorKind.PERMANENT):  # it answered
            return CLOSED
        failures = self.failures + 1
        opens = policy.failures and failures >= policy.failures
        return Breaker(failures=failures, until=now + policy.pause if opens else None)


CLOSED = Breaker()


# -- errors ------------------------------------------------------------------------------------


def classify(error: BaseException) -> ErrorKind:
    """The kind of an error that nobody knows better.

    qcov's own errors say it. Of others, those of the network and of HTTP are known; what an error
    was caused by counts where it does not tell itself. Everything else is permanent.

    >>> classify(ConnectionResetError()), classify(ValueError())
    (<ErrorKind.TRANSIENT: 'transient'>, <ErrorKind.PERMANENT: 'permanent'>)
    """
    kinds = (_own_kind(cause) for cause in _causes(error))
    return next((kind for kind in kinds if kind is not None), ErrorKind.PERMANENT)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _own_kind(error: BaseException) -> ErrorKind | None:
    for kind, classes in _BY_CLASS:
        if isinstance(error, classes):
            return kind
    status = _http_status(error)
    if status is not None:
        return _BY_STATUS.get(status, ErrorKind.PERMANENT)
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return ErrorKind.OFFLINE
    reason = getattr(error, "reason", None)
    if _is_of_urllib(error, "URLError") and isinstance(reason, BaseException):
        return _own_kind(reason)
    names = {kind.__name__ for kind in type(error).__mro__}
    return ErrorKind.TRANSIENT if names & _TRANSIENT_NAMES else None


_BY_CLASS: tuple[tuple[ErrorKind, tuple[type[BaseException], ...]], ...] = (
    (ErrorKind.PERMANENT, (CircuitRejected,)),
    (ErrorKind.QUOTA, (QuotaExceeded,)),
    (ErrorKind.OFFLINE, (ExecutorOffline, ConnectionRefusedError, socket.gaierror)),
    (ErrorKind.TRANSIENT, (TransientFailure, ConnectionError, TimeoutError, BrokenExecutor)),
)
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
#: Of requests, httpx, urllib3 and botocore, none of which derives from Python's own. What hangs up
#: in the midst of an answer breaks HTTP's protocol.
_TRANSIENT_NAMES = frozenset(
    {
        "ChunkedEncodingError", "ConnectionError", "HTTPClientError", "NetworkError",
        "ProtocolError", "Timeout", "TimeoutException",
    }
)  # fmt: skip
_BY_STATUS = {
    402: ErrorKind.QUOTA,
    408: ErrorKind.TRANSIENT,
    425: ErrorKind.TRANSIENT,
    429: ErrorKind.TRANSIENT,
    500: ErrorKind.TRANSIENT,
    502: ErrorKind.TRANSIENT,
    503: ErrorKind.OFFLINE,
    504: ErrorKind.TRANSIENT,
}


def _is_of_urllib(error: BaseException, name: str) -> bool:
    """Whether it is an error of Python's own client, which is not imported for that."""
    return any(
        kind.__module__ == "urllib.error" and kind.__name__ == name for kind in type(error).__mro__
    )


def _http_status(error: BaseException) -> int | None:
    """The status of an answer from a server, as HTTP libraries keep it."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        answer = cast("Mapping[str, Any]", response).get("ResponseMetadata")
        found = cast("Mapping[str, Any]", answer or {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", getattr(error, "status_code", None))
        if found is None and _is_of_urllib(error, "HTTPError"):
            found = getattr(error, "code", None)
    return found if isinstance(found, int) else None
