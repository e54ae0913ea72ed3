"""From a PennyLane circuit to the plain data that records keep; see `qcov.diagrams`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from qcov.qexecutors.base import Circuit

_MAX_NUMBERS = 4096  #: a longer array is cut


def structure_of(circuit: Circuit) -> tuple[str, str]:
    """The canonical key of a circuit without its parameters, and the text that it is the hash of.

    The text says all that tells circuits apart, so the key is the same in every process.
    """
    data = {
        "operations": [_operation(operation) for operation in circuit.operations],
        "measurements": [_measurement(measurement) for measurement in circuit.measurements],
        "shots": [[copy.shots, copy.copies] for copy in circuit.shots.shot_vector],
    }
    text = json.dumps(data, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest(), text


def parameters_of(circuit: Circuit) -> list[Any]:
    """The parameters of all operations, in order, as plain data."""
    return [plain(value) for operation in circuit.operations for value in operation.data]


def plain(value: Any) -> Any:
    """Numbers, arrays, results and counts as JSON-able data; large arrays are cut.

    >>> plain((np.float64(0.5), {"00": np.int64(3)}, 1j))
    [0.5, {'00': 3}, {'re': 0.0, 'im': 1.0}]
    """
    if isinstance(value, float):  # NumPy's is one, too
        return float(value) if math.isfinite(value) else None  # JSON knows no others
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, complex):
        return {"re": value.real, "im": value.imag}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    return _plain_array(value)


def _plain_array(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except Exception:  # noqa: BLE001  # a traced value has no numbers, and says so in many ways
        return None
    if array.dtype == object:
        return None
    if array.size > _MAX_NUMBERS:
        return {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "first": plain(array.ravel()[:_MAX_NUMBERS].tolist()),
        }
    return plain(array.tolist())


def _operation(operation: Any) -> list[Any]:
    shapes = [list(np.shape(value)) for value in operation.data]
    return [operation.name, list(operation.wires.labels), shapes, _extra(operation.hyperparameters)]


def _extra(hyperparameters: Mapping[str, Any]) -> dict[str, Any] | None:
    extra = {
        key: list(value.labels) if hasattr(value, "labels") else _text(value)
        for key, value in hyperparameters.items()
        if key != "base" and _says_something(value)
    }
    return extra or None


def _says_something(value: Any) -> bool:
    return value is not None and not (hasattr(value, "__len__") and len(value) == 0)


def _text(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_text(item) for item in cast("Sequence[Any]", value)]
    return repr(value)


def _measurement(measurement: Any) -> list[Any]:
    name = getattr(measurement, "_shortname", type(measurement).__name__)
    return [str(name), _observable_text(measurement), list(measurement.wires.labels)]


def _observable_text(measurement: Any) -> str | None:
    if measurement.mv is not None:
        return f"mid-circuit {measurement.mv}"
    observable = measurement.obs
    if observable is None:
        return None
    known = _observables.get(id(observable))
    if known is not None and known[0] is observable:
        return known[1]
    text = repr(observable)
    large = [value for value in observable.data if np.ndim(value)]
    if large:  # NumPy's own text leaves out the middle
        digest = hashlib.sha256()
        for value in large:
            digest.update(np.ascontiguousarray(value).tobytes())
        text += f" #{digest.hexdigest()[:16]}"
    if len(_observables) >= 256:
        _observables.clear()
    _observables[id(observable)] = (observable, text)
    return text


#: A Hamiltonian's text costs milliseconds, and thousands of circuits measure the same one.
_observables: dict[int, tuple[Any, str]] = {}
