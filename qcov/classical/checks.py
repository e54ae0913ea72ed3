"""Refusing what a setting cannot be, where it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from qcov.errors import WrongSetting
from qcov.transport import shorten

_KEY_LENGTH = 500
_MOST_RETRIES = 1_000_000
#: Seconds, some 30 years: clocks and timers of the system take no number however large.
LONGEST = 1e9
_AT_MOST = f", at most {LONGEST:g}"


def check_function(decorator: str, function: object) -> None:
    """Refuse what cannot be called, and a lattice that is not run at once where it is called.

    Raises `WrongSetting`.
    """
    what = f"what ct.{decorator} decorates"
    if not callable(function):
        raise WrongSetting(setting=what, got=repr(function), expected="a function")
    later = next((kind for kind, is_one in _LATER.items() if is_one(function)), None)
    if decorator == "lattice" and later is not None:
        expected = "a plain function, which may call electrons that are such"
        raise WrongSetting(setting=what, got=f"{later} function", expected=expected)


_LATER: Mapping[str, Callable[[object], bool]] = {
    "an async": inspect.iscoroutinefunction,
    "an async generator": inspect.isasyncgenfunction,
    "a generator": inspect.isgeneratorfunction,
}


def check_setting(name: str, value: object) -> None:
    """Refuse a value that an electron cannot have; None stands for the default.

    Raises:
        WrongSetting: `value` is not a number of tries or seconds, or not an idempotency key.
    """
    if value is None:
        return
    if name == "key":
        fits = isinstance(value, str) and 0 < len(value) <= _KEY_LENGTH and value.isprintable()
        expected = f"printable text of at most {_KEY_LENGTH} characters, and not empty"
    elif name == "retries":
        fits = isinstance(value, int) and 0 <= value <= _MOST_RETRIES
        expected = f"a whole number from 0 to {_MOST_RETRIES}"
    elif name == "time_limit":
        fits, expected = _is_seconds(value) and value != 0, f"a number of seconds above 0{_AT_MOST}"
    else:
        fits, expected = _is_seconds(value), f"a number of seconds, 0 or more{_AT_MOST}"
    if not fits or isinstance(value, bool):
        raise WrongSetting(setting=name, got=shorten(value, 80), expected=expected)


def check_id(dispatch_id: object) -> None:
    """Refuse what is no dispatch's id. Raises `WrongSetting`."""
    if not isinstance(dispatch_id, str):
        expected = "the id of a dispatch, as ct.dispatch returns it"
        raise WrongSetting(setting="dispatch_id", got=shorten(dispatch_id, 80), expected=expected)


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= LONGEST
