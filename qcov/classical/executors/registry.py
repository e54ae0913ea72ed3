"""Executors by name, and their description for the engine."""

from __future__ import annotations

from typing import Any

from qcov.classical.executors.base import BaseExecutor
from qcov.classical.executors.local import LocalExecutor
from qcov.errors import InvalidExecutor, suggest

_KNOWN: dict[str, type[BaseExecutor]] = {kind.short_name: kind for kind in (LocalExecutor,)}


def executor_dict(executor: object) -> dict[str, Any]:
    """Describe an executor, given as a name or an object, to the engine.

    Raises `InvalidExecutor` for anything else, and for a name that nobody knows.
    """
    if isinstance(executor, str):
        if executor not in _KNOWN:
            raise InvalidExecutor(got=repr(executor), advice=suggest(executor, _KNOWN))
        return _KNOWN[executor]().to_dict()
    if isinstance(executor, BaseExecutor) and executor.short_name in _KNOWN:
        return executor.to_dict()
    call = " Call it to make one." if isinstance(executor, type) else ""
    raise InvalidExecutor(
        got=repr(executor),
        advice=f"Give a name ({', '.join(sorted(_KNOWN))}) or an executor object.{call}",
    )
