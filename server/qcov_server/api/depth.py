"""How deep lists and objects may lie in each other in what is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

T = TypeVar("T")

#: Far more than any graph has, and far less than Python can go down when it is read again.
MAX_DEPTH = 200


def shallow(value: T) -> T:
    """The same; a ValueError if it goes too deep.

    >>> shallow([[], {"a": [1]}])
    [[], {'a': [1]}]
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for one in level for part in _parts(one) if isinstance(part, dict | list)]
        if not level:
            return value
    raise ValueError(f"there may be at most {MAX_DEPTH} lists or objects in each other")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()
