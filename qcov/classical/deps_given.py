"""Dependencies as users write them: text, functions and modules are accepted as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from qcov.classical.deps import Deps, DepsBash, DepsCall, DepsModule, DepsPip, shown
from qcov.errors import WrongSetting


def as_bash(value: object) -> DepsBash | None:
    """`deps_bash` as a `DepsBash`: commands are accepted as they are."""
    if value is None or isinstance(value, DepsBash):
        return value
    if not isinstance(value, (str, list, tuple)):
        raise WrongSetting(
            setting="deps_bash",
            got=shown(value),
            expected="a DepsBash, a command or a list of them",
        )
    return DepsBash(cast("Sequence[str]", value))


def as_pip(value: object) -> DepsPip | None:
    """`deps_pip` as a `DepsPip`: requirements are accepted as they are."""
    if value is None or isinstance(value, DepsPip):
        return value
    if not isinstance(value, (str, list, tuple)):
        raise WrongSetting(
            setting="deps_pip",
            got=shown(value),
            expected="a DepsPip, a requirement or a list of them",
        )
    return DepsPip(cast("Sequence[str]", value))


def as_calls(setting: str, value: object) -> list[Deps] | None:
    """`call_before` or `call_after` as a list: functions are accepted as they are."""
    if value is None:
        return None
    several = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else [value]
    calls = [_as_call(setting, item) for item in several]
    for call in calls:
        if setting == "call_after" and call.retval_keyword:
            raise WrongSetting(
                setting=f"retval_keyword of {call!r} in call_after",
                got=repr(call.retval_keyword),
                expected="left out: the electron has run by then",
            )
    return calls


def as_modules(value: object) -> list[DepsModule] | None:
    """`deps_module` as a list: modules and their names are accepted as they are."""
    if value is None:
        return None
    several: Sequence[Any] = cast("Any", value) if isinstance(value, (list, tuple)) else [value]
    return [each if isinstance(each, DepsModule) else DepsModule(each) for each in several]


def _as_call(setting: str, value: Any) -> Deps:
    if isinstance(value, Deps) and not isinstance(value, DepsPip):
        return value
    if not callable(value) or value in (DepsBash, DepsCall, DepsPip):
        raise WrongSetting(
            setting=setting, got=shown(value), expected="a function, a DepsCall or a list of them"
        )
    return DepsCall(value)
