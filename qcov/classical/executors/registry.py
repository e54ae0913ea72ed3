"""Executors by name, and their description for the engine."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from qcov import config
from qcov.classical.executors import plugins
from qcov.classical.executors.base import AnyExecutor, AsyncBaseExecutor, BaseExecutor
from qcov.classical.executors.dask import DaskExecutor
from qcov.classical.executors.local import LocalExecutor
from qcov.errors import InvalidExecutor, suggest

#: Those that the engine itself knows; all others travel as objects.
_KNOWN: dict[str, type[AnyExecutor]] = {
    kind.short_name: kind for kind in (LocalExecutor, DaskExecutor)
}

#: What the methods of executors of users' own are given.
_RUN = ("function", "args", "kwargs", "task_metadata")
_EXECUTE = (
    *("function", "args", "kwargs", "dispatch_id", "results_dir", "node_id"),
    *("call_before", "call_after"),
)


def executor_names() -> list[str]:
    """The names that `executor="..."` takes; no plugin is imported."""
    return sorted({*_KNOWN, *plugins.plugin_names()})


def executor_of(executor: object) -> AnyExecutor:
    """An executor that was given as a name or as an object.

    Raises:
        InvalidExecutor: it is something else, nobody knows its name, or it cannot run anything.
    """
    if isinstance(executor, str):
        return _named(executor)
    if isinstance(executor, AnyExecutor):
        return _able(executor)
    call = " Call it to make one." if isinstance(executor, type) else ""
    raise InvalidExecutor(
        got=repr(executor),
        advice=f"Give a name ({', '.join(executor_names())}) or an executor object.{call}",
    )


def executor_dict(executor: object) -> dict[str, Any]:
    """Describe an executor, given as a name or an object, to the engine. Raises as `executor_of`.

    Of one that the engine does not know, only what the engine needs is in it: it travels as an
    object.
    """
    made = executor_of(executor)
    described = made.to_dict()
    if travels_as_object(made):
        needed = ("time_limit", "retries", "log_stdout", "log_stderr")
        attributes = {name: getattr(made, name, None) for name in needed}
        return {"type": made.short_name or type(made).__name__, "attributes": attributes}
    return described


def travels_as_object(executor: AnyExecutor) -> bool:
    """True for an executor that the engine does not know: it runs in a process of its own."""
    return type(executor) not in _KNOWN.values()


def _named(name: str) -> AnyExecutor:
    kind = _KNOWN.get(name) or plugins.find_plugin(name)
    if kind is None:
        raise InvalidExecutor(got=repr(name), advice=suggest(name, executor_names()))
    options: Mapping[str, Any] = config.get_config("executors").get(name, {})
    try:
        return _able(kind(**_taken_by(kind, options)))
    except TypeError as error:
        raise InvalidExecutor(
            got=repr(name), advice=f"It cannot be made from [executors.{name}]: {error}"
        ) from error


def _taken_by(kind: type[AnyExecutor], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a class takes when it is called."""
    names = _names_taken(kind)
    return {name: value for name, value in options.items() if names is None or name in names}


@functools.lru_cache(maxsize=64)
def _names_taken(kind: type[AnyExecutor]) -> frozenset[str] | None:
    """The names of a class's parameters; None if it takes any."""
    parameters = inspect.signature(kind).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return frozenset(each.name for each in parameters)


def executor_from(described: Mapping[str, Any]) -> AnyExecutor:
    """One that the engine knows, as it was before `to_dict`."""
    return _KNOWN[described["type"]]().from_dict(described)


def _able(executor: AnyExecutor) -> AnyExecutor:
    """The executor, if it says how it runs electrons."""
    if not travels_as_object(executor):  # the engine runs electrons itself then
        return executor
    kind: Any = type(executor)
    for base in (BaseExecutor, AsyncBaseExecutor):
        if isinstance(executor, base) and (kind.run, kind.execute) != (base.run, base.execute):
            _check_called(executor, "run" if kind.execute == base.execute else "execute")
            return executor
    raise InvalidExecutor(
        got=repr(executor), advice="Define `run` or `execute` in its class, to run electrons."
    )


def _check_called(executor: Any, name: str) -> None:
    """Refuse an executor whose `run` or `execute` cannot be called as it will be."""
    try:
        signature = inspect.signature(getattr(executor, name))
    except TypeError:
        advice = f"Its `{name}` must be a method, not {getattr(executor, name)!r}."
        raise InvalidExecutor(got=repr(executor), advice=advice) from None
    given = _RUN if name == "run" else [each for each in _EXECUTE if each in signature.parameters]
    try:  # `execute` gets by their names what it asks for
        signature.bind(*given) if name == "run" else signature.bind(**dict.fromkeys(given))
    except TypeError as error:
        advice = f"Its `{name}` takes {signature}, and would be given {', '.join(given)}"
        raise InvalidExecutor(got=repr(executor), advice=f"{advice}: {error}.") from None
