"""The machine's clock, alone and beside others."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from qcov.cli.checkup.finding import Finding, ok, problem, warning
from qcov.config import get_config

_STEP = 0.05  # seconds by which the clock may leap while we look
_LOOK = 0.1  # seconds that we look
_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)  # this program is younger
_SKEW = 1.0  # seconds between two clocks
_ROUNDED = 1.0  # seconds: a header says no more exactly
_WITHIN = 3.0  # seconds for an answer


def clock() -> Iterator[Finding]:
    """Whether the clock goes on steadily, is not years behind, and agrees with another one.

    Nobody is asked for the time whom the settings do not name anyway. A database server's clock
    belongs to the check of the database.
    """
    wall, steady = time.time(), time.monotonic()
    time.sleep(_LOOK)
    leap = (time.time() - wall) - (time.monotonic() - steady)
    now = datetime.now(UTC).astimezone()
    said = f"{now.isoformat(' ', 'seconds')} ({now.tzname()})"
    if now < _BEFORE:
        yield problem("clock", f"{said}: it is behind", "Set it: certificates and logins fail.")
    elif abs(leap) > _STEP:
        advice = "Let a time service (chrony, ntpd) set it slowly: durations are wrong."
        yield warning("clock", f"{said}: it leapt by {leap:+.3f} s just now", advice)
    elif url := str(get_config("tracing.endpoint") or ""):
        yield ok("clock", f"{said}, and goes steadily")
        yield _beside(url)
    else:
        other = "the database server's only" if get_config("workflow_data.db_url") else "no other"
        yield ok("clock", f"{said}, and goes steadily; compared with {other}")


def compared(whose: str, ahead: float, rounded: float = 0.0) -> Finding:
    """Another clock beside this one.

    Args:
        whose: That of whom or what.
        ahead: By how many seconds.
        rounded: How many seconds that may be wrong by.
    """
    said = f"{whose} is {abs(ahead):.2f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) <= _SKEW + rounded:
        return ok("clock", said)
    return warning("clock", said, "Let both be set by a time service: shown times are off.")


def _beside(url: str) -> Finding:
    host = urlsplit(url).hostname or url
    before = time.time()
    try:
        date = _headers(url).get("date")
        told = None if date is None else parsedate_to_datetime(date).timestamp()
    except (OSError, ValueError) as error:
        return warning("clock", f"it could not be compared with that of {host}: {error}")
    if told is None:
        return ok("clock", f"{host} does not tell the time; compared with no other")
    about = told + _ROUNDED / 2 - (before + time.time()) / 2
    return compared(f"that of {host} (tracing.endpoint)", about, _ROUNDED / 2)


def _headers(url: str) -> Message:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # the setting is a URL
    try:
        with urllib.request.urlopen(request, timeout=_WITHIN) as answer:  # noqa: S310
            return answer.headers
    except urllib.error.HTTPError as error:  # whatever it says, it says when
        return error.headers
