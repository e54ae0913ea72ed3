"""The blobs of constants, and containers that hold electrons among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from qcov.classical.graph import Recipe
from qcov.classical.outputs import HoldsElectron
from qcov.errors import ElectronMisuse, QcovError, SerializationError
from qcov.transport import dumps

_CONTAINERS = (list, tuple, set, dict)


def blob_of(value: object, *, what: str) -> bytes | None:
    """The blob of a value; None for a container with electrons in it."""
    try:
        return dumps(value, what=what)
    except SerializationError as error:
        if isinstance(error.__cause__, HoldsElectron) and type(value) in _CONTAINERS:
            return None
        raise _explained(error, what) from error.__cause__


def whole_blob(value: object, *, what: str) -> bytes:
    """The blob of a value that must not have electrons in it."""
    try:
        return dumps(value, what=what)
    except SerializationError as error:
        raise _explained(error, what) from error.__cause__


def _explained(error: SerializationError, what: str) -> QcovError:
    held = error.__cause__
    if not isinstance(held, HoldsElectron):
        return error
    advice = "Pass it as an argument of its own, or in a list, tuple, set or dict."
    return ElectronMisuse(electron=held.electron, use=f"a part of {what}", advice=advice)


def container(value: Any, part: Callable[[object], Recipe], key: Callable[[object], str]) -> Recipe:
    """How to put a container together whose parts and keys are described so."""
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value).items()
        return {"dict": [[key(name), part(item)] for name, item in entries]}
    return {type(value).__name__: [part(item) for item in value]}
