"""Executors as people write them: a class, a section of the settings, an object in a module."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import qcov.executor
from qcov.config import get_config
from qcov.errors import CannotMeasure, QcovError, suggest
from qcov.qexecutors.base import BaseQExecutor
from qcov_bench.backends.written import Written, settings_in

_ADVICE = (
    "Give a class such as Simulator or Simulator:lightning.qubit,parallel=thread, a section of the "
    "settings such as '[qelectron.mine]', or module:object."
)


def executor_of(text: str) -> BaseQExecutor:
    """The executor that a text means.

    Args:
        text: `CLASS`, `CLASS:SETTINGS`, `[qelectron.NAME]` or `MODULE:OBJECT`. Settings are
            separated by commas, NAME=VALUE with a value in JSON or a plain text; the first may
            come without its name. An object is an executor, or is called to give one.

    Raises:
        CannotMeasure: It means none, or the executor cannot be made.

    Example:
        >>> executor_of("Simulator:lightning.qubit,workers=2").workers
        2
    """
    if text.startswith("["):
        return _of_section(text)
    name, colon, rest = text.partition(":")
    kind = _kinds().get(name)
    if kind is not None:
        settings = settings_in(rest)
        first = [one.value for one in settings if one.name is None]
        named = {one.name: one.value for one in settings if one.name is not None}
        return _made(Written(text=text, kind=kind), kind, first, named)
    if colon:
        return _imported(text, name, rest)
    raise _refused(Written(text=text), f"there is none of this name. {suggest(name, _kinds())}")


def label_of(text: str, executor: BaseQExecutor) -> str:
    """What others may read of a text that means an executor: it, without secrets.

    >>> label_of("Simulator:lightning.qubit", executor_of("Simulator:lightning.qubit"))
    'Simulator:lightning.qubit'
    """
    kind = _kinds().get(text.partition(":")[0])
    return Written(text=text, kind=kind, executor=executor).label


def _kinds() -> dict[str, type[BaseQExecutor]]:
    found = {name: getattr(qcov.executor, name) for name in qcov.executor.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type)
        and issubclass(kind, BaseQExecutor)
        and not inspect.isabstract(kind)
    }


def _made(
    written: Written, kind: Any, first: Sequence[Any], named: Mapping[str, Any]
) -> BaseQExecutor:
    try:
        return kind(*first, **named)
    except QcovError as error:
        raise _refused(written, str(error)) from error
    except Exception as error:  # users' classes raise what they like
        raise _refused(written, f"{type(error).__name__}: {error}") from error


def _of_section(text: str) -> BaseQExecutor:
    """What a section says: the class is `type`, or else the section's own name."""
    written = Written(text=text)
    name = text.strip("[] ").removeprefix("qelectron.")
    sections = get_config("qelectron")
    settings = sections.get(name)
    if not isinstance(settings, Mapping):
        raise _refused(
            written, f"there is no such section in the settings. {suggest(name, sections)}"
        )
    given = dict(settings)
    kind = str(given.pop("type", name))
    known = _kinds()
    if kind not in known:
        reason = f"{kind!r} is no class of executors; say type = ... there. {suggest(kind, known)}"
        raise _refused(written, reason)
    written = Written(text=text, kind=known[kind], section=given)
    return _made(written, known[kind], (), given)


def _imported(text: str, module: str, path: str) -> BaseQExecutor:
    written = Written(text=text)
    if "" not in sys.path:
        sys.path.insert(0, "")  # a file in this folder is a module too
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # the module is the user's
        raise _refused(written, f"{type(error).__name__}: {error}") from error
    is_one = isinstance(found, BaseQExecutor) or not callable(found)
    made = found if is_one else _made(written, found, (), {})
    if not isinstance(made, BaseQExecutor):
        raise _refused(written, f"{made!r:.80} is no executor")
    return made


def _refused(written: Written, reason: str) -> CannotMeasure:
    return CannotMeasure(
        what=f"the executor {written.label!r}",
        reason=written.without_secrets(reason).rstrip("."),
        advice=_ADVICE,
    )
