"""Refusing what a setting cannot be, where it is given."""

from __future__ import annotations

import math

from qcov.errors import WrongSetting

_KEY_LENGTH = 500


def check_function(decorator: str, function: object) -> None:
    """Refuse what cannot be called. Raises `WrongSetting`."""
    if not callable(function):
        what = f"what ct.{decorator} decorates"
        raise WrongSetting(setting=what, got=repr(function), expected="a function")


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
        fits, expected = isinstance(value, int) and value >= 0, "a whole number, 0 or more"
    elif name == "time_limit":
        fits, expected = _is_seconds(value) and value != 0, "a number of seconds above 0"
    else:
        fits, expected = _is_seconds(value), "a number of seconds, 0 or more"
    if not fits or isinstance(value, bool):
        raise WrongSetting(setting=name, got=repr(value), expected=expected)


def check_id(dispatch_id: object) -> None:
    """Refuse what is no dispatch's id. Raises `WrongSetting`."""
    if not isinstance(dispatch_id, str):
        expected = "the id of a dispatch, as ct.dispatch returns it"
        raise WrongSetting(setting="dispatch_id", got=repr(dispatch_id), expected=expected)


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
