"""The source of functions, for people."""

from __future__ import annotations

import inspect
import linecache
from types import CodeType, FunctionType
from typing import cast

_MOST = 4096  # functions that are remembered

#: What was found, by file and first line; it is right as long as the file's lines are these.
_found: dict[tuple[str, int], tuple[list[str], str]] = {}


def source_of(function: object) -> str:
    """The source of a function as the user wrote it, empty if it cannot be found.

    >>> source_of(abs)
    ''
    """
    if hasattr(function, "lepton_source"):  # it is no Python
        return str(getattr(function, "lepton_source"))  # noqa: B009
    bare = inspect.unwrap(cast("FunctionType", function))
    code = getattr(bare, "__code__", None)
    return _read(bare) if type(code) is not CodeType else _remembered(bare, code)


def _remembered(function: FunctionType, code: CodeType) -> str:
    """Where a function ends is found by taking its lines to pieces, which takes long."""
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)  # the same list until the file changes
    place = code.co_filename, code.co_firstlineno
    known = _found.get(place)
    if known is not None and known[0] is lines:
        return known[1]
    if len(_found) >= _MOST:
        _found.clear()
    source = _read(function)
    _found[place] = lines, source
    return source


def _read(function: object) -> str:
    try:
        return inspect.getsource(cast("FunctionType", function))
    except (OSError, TypeError):
        return ""
