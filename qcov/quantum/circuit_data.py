"""The parameters and results of circuits as the plain data that records keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np

from qcov.qexecutors.base import Circuit
from qcov.qexecutors.pennylane_compact import values_of

_MAX_NUMBERS = 4096  #: a longer array, list or dictionary is cut
_SCALARS = (float, int, complex, str, type(None))  # some of NumPy's are among them
_UNCHANGING = (*_SCALARS, np.generic)
_WHOLE = range(-(2**63), 2**64)  #: the integers that MessagePack knows


def parameters_of(circuit: Circuit) -> list[Any]:
    """The parameters of all operations, in order, as plain data."""
    return [
        float(value) if isinstance(value, float) and math.isfinite(value) else plain(value)
        for value in values_of(circuit)
    ]


def has_arrays(circuit: Circuit) -> bool:
    """Whether one of a circuit's parameters is an array: it may be large, and be changed later.

    One without dimensions may be changed too, as training in place does: `x -= 0.1 * slope`.
    """
    values = (value for value in values_of(circuit) if not isinstance(value, _UNCHANGING))
    return any(hasattr(value, "shape") for value in values)


def plain(value: Any) -> Any:
    """Numbers, arrays, results and counts as JSON-able data; large ones are cut.

    Integers beyond 64 bits become text, and what is none of these None.

    >>> plain((np.float64(0.5), {"00": np.int64(3)}, 1j, 2**64))
    [0.5, {'00': 3}, {'re': 0.0, 'im': 1.0}, '0x10000000000000000']
    """
    return _data(cut(value))


def cut(value: Any) -> Any:
    """What may be kept of `value` for long: it is never large, and `plain` makes the same of it.

    >>> kept = cut((0.5, np.zeros(2**20)))
    >>> kept[0], kept[1]["shape"], len(kept[1]["first"])
    (0.5, [1048576], 4096)
    """
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (list, tuple)):
        sequence = cast("Sequence[Any]", value)
        some = [cut(item) for item in sequence[:_MAX_NUMBERS]]
        return some if len(sequence) == len(some) else _beginning([len(sequence)], "list", some)
    if not isinstance(value, np.ndarray) and isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        few = {key: cut(item) for key, item in islice(items.items(), _MAX_NUMBERS)}
        return few if len(items) == len(few) else _beginning([len(items)], "dict", few)
    return _cut_array(value)


def _cut_array(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except Exception:  # noqa: BLE001  # a traced value has no numbers, and says so in many ways
        return None
    if array.dtype.kind not in "biufcU":
        return None
    if array.dtype.char in "gG":  # Python has no numbers as long as these
        array = array.astype(complex if array.dtype.kind == "c" else float)
    if array.size > _MAX_NUMBERS:
        first = array.ravel()[:_MAX_NUMBERS].copy()
        return _beginning(list(array.shape), str(array.dtype), first)
    return array if array.base is None else array.copy()  # a view keeps all of its base alive


def _beginning(shape: list[int], dtype: str, first: Any) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "first": first}


def _data(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _data(cast("np.ndarray[Any, Any]", value).tolist())
    if isinstance(value, dict):
        return {str(key): _data(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_data(item) for item in cast("list[Any]", value)]
    return value if value is None or isinstance(value, bool | str) else _number(value)


def _number(value: complex) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None  # JSON knows no others
    if isinstance(value, int):
        return value if value in _WHOLE else hex(value)
    return {"re": _number(value.real), "im": _number(value.imag)}
