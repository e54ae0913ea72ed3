"""Plain values, and how they are told apart: numbers, text, containers, arrays."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from qcov.classical.object_graph import Description, hashed
from qcov.transport import Buffer

_SHORT = 100  #: of longer text, a digest
_ATOMS = frozenset({int, float, complex, str, bool, type(None)})
_CONTAINERS = frozenset({list, tuple, dict})
_DEEP = 8  #: containers within containers


def says_it_all(value: object) -> bool:
    """Whether equal pickles of this value and of another one mean that they are the same.

    True of numbers and text: there is no code in them, and no order that is another one elsewhere.
    """
    return type(value) in _ATOMS


def array(value: Any) -> Description | None:
    """A NumPy array of numbers or text; None for any other object.

    Its bytes are read where they lie, and count in the order in which pickle writes them.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return None
    kind = value.dtype
    if kind.hasobject or kind.fields or kind.subdtype or kind.metadata or not kind.itemsize:
        return None  # pickle knows what there is to it
    by_column = value.flags.fnc
    whole = numpy.asarray(value, order="F" if by_column else "C")
    content = sha256(whole.reshape(-1, order="A").view("u1").data)
    return Description(f"array {kind.str} {value.shape} {'F' if by_column else 'C'} {content}")


def _atom(value: object) -> Description:
    text = hex(value) if type(value) is int else repr(value)
    return Description(f"{type(value).__name__} {text if len(text) < _SHORT else hashed(text)}")


def _bytes(value: bytes) -> Description:
    return Description(f"bytes {sha256(value)}")


def _buffer(value: Buffer) -> Description:
    """What an array holds, where it lies."""
    return Description(f"buffer {sha256(value.raw())}")


def _sequence(value: list[Any] | tuple[Any, ...]) -> Description:
    return _data(value) or Description(type(value).__name__, value)


def _mapping(value: dict[Any, Any]) -> Description:
    return _data(value) or Description("dict", [one for pair in value.items() for one in pair])


def _data(value: Any) -> Description | None:
    """Numbers and text in containers, however many: what `repr` writes tells them apart."""
    if not _is_data(value, _DEEP, set()):
        return None
    try:
        return Description(f"data {hashed(repr(value))}")
    except ValueError:  # an integer that Python does not write in decimals
        return None


def _is_data(value: Iterable[Any], depth: int, seen: set[int]) -> bool:
    """True for plain data in which no list or dict stands twice: a change would show in both."""
    if id(value) in seen:
        return False
    inside: Iterable[Any] = value
    if type(value) is dict:
        inside = cast("dict[Any, Any]", value).values()
        if not _ATOMS.issuperset(map(type, cast("dict[Any, Any]", value))):
            return False
    if not isinstance(value, tuple):
        seen.add(id(cast("object", value)))
    if _ATOMS.issuperset(map(type, inside)):
        return True
    others = (one for one in inside if type(one) not in _ATOMS)
    return depth > 0 and all(
        type(one) in _CONTAINERS and _is_data(one, depth - 1, seen) for one in others
    )


def _set(value: set[Any] | frozenset[Any]) -> Description:
    return Description(type(value).__name__, list(value), ordered=False)


def _cell(cell: types.CellType) -> Description:
    try:
        return Description("cell", (cell.cell_contents,))
    except ValueError:
        return Description("empty cell")


#: How to describe what has exactly these types.
DESCRIBED: Mapping[type, Callable[[Any], Description]] = {
    **dict.fromkeys(_ATOMS, _atom),
    type(...): _atom,
    type(NotImplemented): _atom,
    bytes: _bytes,
    Buffer: _buffer,
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
    types.CellType: _cell,
}


def sha256(data: Any) -> str:
    """The digest of bytes, where they lie."""
    return hashlib.sha256(data).hexdigest()
