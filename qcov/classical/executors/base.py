"""What every executor of electrons has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self, cast

from qcov.errors import WrongSetting


class BaseExecutor:
    """Says where and how an electron runs.

    Args:
        time_limit: Seconds after which an electron is stopped; None for no limit.
        retries: How often an electron is tried again after a failure.
    """

    #: The short name under which `executor="..."` finds the class.
    short_name: str = ""

    def __init__(self, *, time_limit: float | None = None, retries: int = 0) -> None:
        check_setting("time_limit", time_limit)
        check_setting("retries", retries)
        self.time_limit = time_limit
        self.retries = retries

    def to_dict(self) -> dict[str, Any]:
        """The executor as JSON: its short name and its attributes."""
        return {"type": self.short_name, "attributes": dict(vars(self))}

    def from_dict(self, object_dict: dict[str, Any]) -> Self:
        """Take over the attributes of a dict that `to_dict` made; returns itself."""
        vars(self).update(object_dict["attributes"])
        return self

    def __repr__(self) -> str:
        attributes = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({attributes})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = object.__hash__


#: Settings that say where and how long an electron runs, but do not change what it returns.
_INCIDENTAL = frozenset(
    {
        *("cache_dir", "create_unique_workdir", "log_stderr", "log_stdout", "poll_freq"),
        *("retries", "time_limit", "workdir"),
    }
)


def decisive(described: Mapping[str, Any]) -> dict[str, Any]:
    """Of an executor as JSON, what may change the values of electrons: its kind, its Python."""
    attributes = cast("Mapping[str, Any]", described["attributes"])
    kept = {name: attributes[name] for name in sorted(attributes) if name not in _INCIDENTAL}
    return {"type": described["type"], "attributes": kept}


#: Settings of Covalent's that have no effect yet.
LATER = frozenset({"backend", "deps_module", "files", "triggers"})


def check_function(decorator: str, function: object) -> None:
    """Refuse what cannot be called. Raises `WrongSetting`."""
    if not callable(function):
        what = f"what ct.{decorator} decorates"
        raise WrongSetting(setting=what, got=repr(function), expected="a function")


_KEY_LENGTH = 500


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


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
