"""The settings of electrons and lattices; Covalent calls them metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, cast

from qcov.classical.checks import LATER, check_setting
from qcov.classical.deps import Deps, DepsBash, DepsPip, as_bash, as_calls, as_pip
from qcov.classical.executors.base import AnyExecutor
from qcov.classical.executors.registry import executor_of
from qcov.errors import NotYetSupported

#: What runs before or after an electron: functions are accepted as they are.
Calls = Callable[..., Any] | Deps | Sequence[Callable[..., Any] | Deps]


class Shared(TypedDict, total=False):
    """What an electron and a lattice can be told; a lattice's settings are its electrons'."""

    executor: str | AnyExecutor | None
    deps_bash: DepsBash | str | Sequence[str] | None
    deps_pip: DepsPip | str | Sequence[str] | None
    call_before: Calls | None
    call_after: Calls | None


class ElectronSettings(Shared, total=False):
    """What an electron can be told."""

    retries: int | None
    retry_delay: float | None
    time_limit: float | None


class LatticeSettings(Shared, total=False):
    """What a lattice can be told."""

    workflow_executor: str | AnyExecutor | None


#: What electrons take from their lattice, and sublattices from the one around them.
INHERITED = ("executor", "deps_bash", "deps_pip", "call_before", "call_after")
ELECTRON = (*INHERITED, "retries", "retry_delay", "time_limit")
LATTICE = (*INHERITED, "workflow_executor")


def checked(settings: Mapping[str, object], known: Sequence[str]) -> dict[str, Any]:
    """All `known` settings, None where nothing is said.

    Raises:
        TypeError: a setting has an unknown name.
        QcovError: a setting has a value that cannot be, or would have no effect.
    """
    for name in settings:
        if name not in known and name not in LATER:
            raise TypeError(f"got an unexpected keyword argument {name!r}")
    return dict.fromkeys(known) | {name: checked_one(name, settings[name]) for name in settings}


def checked_one(name: str, value: object) -> object:
    """A setting's value as it is kept. Raises for a wrong one, where it was given."""
    if name in LATER:
        raise NotYetSupported(feature=name)
    if name in ("retries", "retry_delay", "time_limit"):
        check_setting(name, value)
    elif name in ("executor", "workflow_executor"):
        if value is not None:
            executor_of(value)
    elif name == "deps_bash":
        return as_bash(value)
    elif name == "deps_pip":
        return as_pip(value)
    elif name in ("call_before", "call_after"):
        return as_calls(name, value)
    return value


def inherited(own: Mapping[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """An electron's or a sublattice's settings, with the others' where it says nothing itself."""
    made = dict(own)
    for name in INHERITED:
        values = (settings.get(name) for settings in (own, *others))
        made[name] = next((value for value in values if value is not None), None)
    return made


def injected(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that an electron gets from what runs before it."""
    calls = cast("Sequence[Deps]", settings.get("call_before") or ())
    return {call.retval_keyword: call for call in calls if call.retval_keyword}
