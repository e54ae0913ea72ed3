"""What providers charge: dated tables that come with qcov, and the user's own file above them.

Each `[[price]]` of a file says what one device, or all devices of a pattern, cost, in US dollars.
The user's file is `prices.toml` beside `qcov.conf`, or what the setting `costs.prices` names.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

from qcov.config import config_file, get_config
from qcov.errors import ConfigError, suggest

_AMOUNTS = ("usd_per_task", "usd_per_shot", "usd_per_minute", "usd_per_qpu_second", "least_seconds")
_TEXTS = ("provider", "device", "source")
_KNOWN = (*_TEXTS, "date", *_AMOUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a device costs, in US dollars.

    Args:
        provider: The provider's name.
        device: The device's name, or a pattern of names in which `*` stands for anything.
        date: The day on which this was the price.
        source: Where that was said.
        usd_per_task: For each job.
        usd_per_shot: For each shot.
        usd_per_minute: For each minute that a simulator computes.
        usd_per_qpu_second: For each second that a quantum computer works.
        least_seconds: What a shorter time is charged as.
        own: Whether it is from the user's file.

    Example:
        >>> price = Price(provider="Mine", device="*", usd_per_task=0.3, usd_per_shot=0.01)
        >>> price.usd(tasks=1, shots=100), price.usd(seconds=10)
        (1.3, 0.0)
    """

    provider: str
    device: str
    date: dt.date | None = None
    source: str = ""
    usd_per_task: float = 0.0
    usd_per_shot: float = 0.0
    usd_per_minute: float = 0.0
    usd_per_qpu_second: float = 0.0
    least_seconds: float = 0.0
    own: bool = False

    def usd(self, *, tasks: int = 0, shots: int = 0, seconds: float = 0.0) -> float:
        """What so many tasks with so many shots cost together that took so many seconds."""
        charged = max(seconds, self.least_seconds * tasks)
        per_second = self.usd_per_minute / 60 + self.usd_per_qpu_second
        return tasks * self.usd_per_task + shots * self.usd_per_shot + charged * per_second

    @property
    def origin(self) -> str:
        """Where the price is from, for people: its source and its date."""
        date = "without a date" if self.date is None else self.date.isoformat()
        return f"{self.source or 'no source'}, {date}"


def price_of(provider: str, device: str) -> Price | None:
    """What a device of a provider costs; None if no table has it.

    The user's entries go first, in their order; then those that come with qcov.

    Raises:
        ConfigError: The user's file is wrong; the message names the line.

    >>> price_of("Amazon Braket", "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1").usd_per_shot
    0.08
    >>> price_of("Amazon Braket", "arn:aws:braket:us-east-1::device/qpu/unheard/Of")
    """
    for price in (*_own_prices(), *_shipped_prices()):
        if price.provider == provider and fnmatchcase(device, price.device):
            return price
    return None


@cache
def _shipped_prices() -> tuple[Price, ...]:
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return tuple(price for path in files for price in _parsed(path, own=False))


def _own_prices() -> tuple[Price, ...]:
    path = Path(get_config("costs.prices"))
    try:
        found = path.stat()
    except FileNotFoundError as error:
        if path == config_file().with_name("prices.toml"):
            return ()
        reason = f"names {path}, which does not exist"
        raise ConfigError(key="costs.prices", reason=reason, source=str(config_file())) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return _read_again_if_new(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _read_again_if_new(path: Path, _changed: int, _size: int) -> tuple[Price, ...]:
    return tuple(_parsed(path, own=True))


# -- files -------------------------------------------------------------------------------------


def _parsed(path: Path, *, own: bool) -> Iterator[Price]:
    text = _text_of(path)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = f"is not valid TOML: {error}"
        raise ConfigError(key=path.name, reason=reason, source=str(path)) from error
    entries = tables.pop("price", [])
    if not isinstance(entries, list) or tables.keys() - {"source"}:
        reason = "may have a source and entries that begin with [[price]], and nothing else"
        raise ConfigError(key=path.name, reason=reason, source=str(path))
    for number, entry in enumerate(cast("list[dict[str, Any]]", entries)):
        try:
            yield _price({"source": tables.get("source", ""), **entry}, own=own)
        except _Wrong as wrong:
            line = _line_of(number, wrong.key, text)
            raise ConfigError(
                key=wrong.key, reason=str(wrong), source=str(path), line=line
            ) from None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(key=path.name, reason=f"cannot be read: {error}", source=str(path))


class _Wrong(Exception):
    """What is wrong with a key of an entry."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def _price(entry: Mapping[str, Any], *, own: bool) -> Price:
    for key, value in entry.items():
        if key not in _KNOWN:
            raise _Wrong(key, f"is not known of a price. {suggest(key, _KNOWN)}")
        if key in _TEXTS and not isinstance(value, str):
            raise _Wrong(key, f"must be text in quotes, not {value!r}")
        if key in _AMOUNTS and not _is_amount(value):
            raise _Wrong(key, f"must be a number, 0 or more, not {value!r}")
        if key == "date" and type(value) is not dt.date:
            raise _Wrong(key, f"must be a day such as 2026-07-23, without quotes, not {value!r}")
    for key in ("provider", "device"):
        if not entry.get(key):
            raise _Wrong(key, "must be given for each price")
    if not entry.keys() & set(_AMOUNTS):
        raise _Wrong("price", f"says no amount. Known: {', '.join(_AMOUNTS)}")
    return Price(**entry, own=own)


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= float(cast("float", value)) < math.inf


def _line_of(number: int, key: str, text: str) -> int | None:
    """The line of a key in the entry with that number; of its header if it is not there."""
    header, found = None, -1
    for line, content in enumerate(text.splitlines(), start=1):
        if re.match(r"\s*\[", content):
            found += bool(re.match(r"\s*\[\[\s*price\s*\]\]", content))
            if found == number and header is None:
                header = line
        elif found == number and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", content):
            return line
    return header
