"""The settings of electrons and lattices; Covalent calls them metadata."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict, cast

from qcov.classical.checks import check_setting
from qcov.classical.deps import (
    FILES,
    Deps,
    DepsBash,
    DepsModule,
    DepsPip,
    shown,
)
from qcov.classical.deps_given import as_bash, as_calls, as_modules, as_pip
from qcov.classical.executors.base import AnyExecutor
from qcov.classical.executors.description import decisive
from qcov.classical.executors.registry import executor_dict, executor_of, travels_as_object
from qcov.classical.files.beside import as_transfers
from qcov.classical.files.transfer import FileTransfer
from qcov.errors import WrongSetting, suggest

if TYPE_CHECKING:
    from qcov.budget import Budget
    from qcov.classical.triggers import BaseTrigger

#: What runs before or after an electron: functions are accepted as they are.
Calls = Callable[..., Any] | Deps | Sequence[Callable[..., Any] | Deps]


class Shared(TypedDict, total=False):
    """What an electron and a lattice can be told; a lattice's settings are its electrons'."""

    executor: str | AnyExecutor | None
    backend: str | AnyExecutor | None
    deps_bash: DepsBash | str | Sequence[str] | None
    deps_pip: DepsPip | str | Sequence[str] | None
    deps_module: DepsModule | ModuleType | str | Sequence[DepsModule | ModuleType | str] | None
    call_before: Calls | None
    call_after: Calls | None


class ElectronSettings(Shared, total=False):
    """What an electron can be told."""

    files: FileTransfer | Sequence[FileTransfer] | None
    retries: int | None
    retry_delay: float | None
    time_limit: float | None
    cache: bool | None


class LatticeSettings(Shared, total=False):
    """What a lattice can be told."""

    workflow_executor: str | AnyExecutor | None
    triggers: BaseTrigger | Sequence[BaseTrigger] | None
    budget: Budget | Sequence[Budget] | None


_BACKEND = "backend=... is deprecated: write executor=..."

#: What electrons take from their lattice, and sublattices from the one around them.
INHERITED = ("executor", "deps_bash", "deps_pip", "call_before", "call_after", "deps_module")
ELECTRON = (*INHERITED, "files", "retries", "retry_delay", "time_limit", "cache")
LATTICE = (*INHERITED, "workflow_executor", "triggers", "budget")


def checked(settings: Mapping[str, object], known: Sequence[str]) -> dict[str, Any]:
    """All `known` settings, None where nothing is said.

    Raises:
        TypeError: a setting has an unknown name.
        QcovError: a setting has a value that cannot be.
    """
    if "backend" in settings:
        warnings.warn(_BACKEND, DeprecationWarning, stacklevel=3)
        rest = {name: value for name, value in settings.items() if name != "backend"}
        settings = {"executor": settings["backend"], **rest}
    for name in settings:
        if name not in known:
            what = "an electron" if known is ELECTRON else "a lattice"
            hint = suggest(name, known)
            raise TypeError(f"{what} got an unexpected keyword argument {name!r}. {hint}")
    return dict.fromkeys(known) | {name: checked_one(name, settings[name]) for name in settings}


def checked_one(name: str, value: object) -> object:
    """A setting's value as it is kept. Raises for a wrong one, where it was given."""
    check = _CHECKS.get(name)
    return value if check is None or value is None else check(name, value)


def _number(name: str, value: object) -> object:
    check_setting(name, value)
    return value


def _flag(name: str, value: object) -> object:
    if value not in (True, False):
        raise WrongSetting(setting=name, got=repr(value), expected="True or False")
    return value


def _executor(_name: str, value: object) -> object:
    executor_of(value)
    return value


def _triggers(_name: str, value: object) -> list[BaseTrigger]:
    """Triggers' module needs those above this one, so the question is asked by name."""
    several = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else [value]
    for each in several:
        if isinstance(each, type) or not hasattr(each, "observe"):
            raise WrongSetting(
                setting="triggers", got=shown(each), expected="a trigger, or a list of them"
            )
        cast("BaseTrigger", each).check()
    return cast("list[BaseTrigger]", list(several))


def _budgets(name: str, value: object) -> tuple[Budget, ...]:
    from qcov.budget import Budget

    several = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else [value]
    for each in several:
        if not isinstance(each, Budget):
            expected = "a qcov.Budget, or a list of them"
            raise WrongSetting(setting=name, got=shown(each), expected=expected)
    return tuple(cast("Sequence[Budget]", several))


_CHECKS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("retries", "retry_delay", "time_limit"), _number),
    **dict.fromkeys(("executor", "workflow_executor"), _executor),
    **dict.fromkeys(("call_before", "call_after"), as_calls),
    "budget": _budgets,
    "cache": _flag,
    "deps_bash": lambda _name, value: as_bash(value),
    "deps_module": lambda _name, value: as_modules(value),
    "deps_pip": lambda _name, value: as_pip(value),
    "files": lambda _name, value: as_transfers(value),
    "triggers": _triggers,
}


def inherited(own: Mapping[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """An electron's or a sublattice's settings, with the others' where it says nothing itself."""
    made = dict(own)
    for name in INHERITED:
        values = (settings.get(name) for settings in (own, *others))
        made[name] = next((value for value in values if value is not None), None)
    return made


def counted(settings: Mapping[str, Any]) -> list[object]:
    """Of an electron's or a lattice's settings, what may change its values."""
    executor, *others = (settings.get(name) for name in INHERITED)
    return [None if executor is None else _decisive(executor), *others]


def _decisive(executor: object) -> object:
    made = executor_of(executor)
    own = [made] if travels_as_object(made) else []
    return [decisive(executor_dict(made)), *own]


def injected(
    settings: Mapping[str, Any], signature: inspect.Signature | None = None
) -> dict[str, Any]:
    """The arguments that an electron with this signature gets from what runs before it."""
    calls = cast("Sequence[Deps]", settings.get("call_before") or ())
    files = {FILES: settings["files"]} if settings.get("files") and takes_files(signature) else {}
    return files | {call.retval_keyword: call for call in calls if call.retval_keyword}


def takes_files(signature: inspect.Signature | None) -> bool:
    """True where a function can be given the paths of its files."""
    if signature is None:
        return False
    parameters = signature.parameters
    own = parameters.get(FILES)
    if own is not None and own.kind in (own.POSITIONAL_OR_KEYWORD, own.KEYWORD_ONLY):
        return True
    return any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a function takes."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # C functions may not have one
        return None
