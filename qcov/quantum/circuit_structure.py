"""The structure of a PennyLane circuit as text: all of it but its parameters; see `qcov.diagrams`.

Thousands of circuits share one structure, so the text is made once. What tells structures apart
cheaply, a tuple of types, wires and shapes, finds it again.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from qcov.qexecutors.base import Circuit
from qcov.qexecutors.pennylane_compact import CompactCircuit
from qcov.qexecutors.pennylane_structure import Structure

_MAX_KNOWN = 512
_MAX_CONDITION = 8  #: measurements whose outcomes are told one by one
_MAX_KEPT = 4096  #: numbers in an observable that is kept alive here


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitStructure:
    """All of a circuit but its parameters."""

    key: str  #: hash of the text, the same in every process
    text: str  #: JSON that says all that tells circuits apart
    wires: int  #: how many are in use


def structure_of(circuit: Circuit) -> CircuitStructure:
    """The structure of a circuit; for circuits that are alike the very same object."""
    if isinstance(circuit, CompactCircuit):
        known = _of_compact.get(circuit.structure)
        if known is None:
            known = _of_compact[circuit.structure] = _new(circuit, circuit.structure.gates)
        return known
    quick = _quick_key(circuit)
    known = _structures.get(quick) if quick is not None else None
    if known is not None:
        return known
    found = _new(circuit, circuit.operations)
    if quick is not None:
        if len(_structures) >= _MAX_KNOWN:
            _structures.clear()
        _structures[quick] = found
    return found


_structures: dict[Hashable, CircuitStructure] = {}
_of_compact: WeakKeyDictionary[Structure, CircuitStructure] = WeakKeyDictionary()


def _new(circuit: Circuit, gates: Sequence[Any]) -> CircuitStructure:
    data = {
        "operations": [_operation(gate) for gate in gates],
        "measurements": [_measurement(measurement) for measurement in circuit.measurements],
        "shots": [[copy.shots, copy.copies] for copy in circuit.shots.shot_vector],
    }
    text = json.dumps(data, separators=(",", ":"), default=str)
    for number, uid in enumerate(_midway(gates)):  # they are new for each circuit
        text = text.replace(uid, f"m{number}")
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return CircuitStructure(key=key, text=text, wires=len(circuit.wires))


def _midway(gates: Sequence[Any]) -> list[str]:
    """The ids of mid-circuit measurements, in their order."""
    parts = (gate.hyperparameters for gate in gates)
    return [part["meas_uid"] for part in parts if isinstance(part.get("meas_uid"), str)]


# -- what finds a structure again --------------------------------------------------------------


def _quick_key(circuit: Circuit) -> Hashable | None:
    """What decides about the text; None where only the text itself can say."""
    key: list[Hashable] = [circuit.shots]
    for operation in circuit.operations:
        labels = labels_of(operation)
        if labels is None:
            return None
        shapes = [() if isinstance(value, float) else np.shape(value) for value in operation.data]
        key.append((_kind(operation), labels, *shapes))
    for measurement in circuit.measurements:
        if measurement.mv is not None:
            return None
        text = _observable_text(measurement.obs)
        key.append((_kind(measurement), measurement.wires.labels, text))
    return tuple(key)


def labels_of(operation: Any) -> Hashable | None:
    """An operation's wires, if with its type they say all that its parameters do not.

    A controlled one puts its wires together anew each time that it is asked, which is dear.
    """
    parts = operation.hyperparameters
    if not parts:
        return operation.wires.labels
    base = parts.get("base")
    if base is None or "control_wires" not in parts or base.hyperparameters:
        return None
    controls = parts["control_wires"].labels, tuple(parts["control_values"])
    work = parts["work_wires"].labels, parts["work_wire_type"]
    return (_kind(base), base.wires.labels, *controls, *work)


def _kind(value: Any) -> Hashable:
    return cast("Hashable", type(value))


# -- the text ----------------------------------------------------------------------------------


def _operation(operation: Any) -> list[Any]:
    shapes = [list(np.shape(value)) for value in operation.data]
    return [operation.name, list(operation.wires.labels), shapes, _extra(operation.hyperparameters)]


def _extra(hyperparameters: Mapping[str, Any]) -> dict[str, Any] | None:
    extra = {
        key: list(value.labels) if hasattr(value, "labels") else _plain_text(value)
        for key, value in hyperparameters.items()
        if key != "base" and _says_something(value)
    }
    base: Any = hyperparameters.get("base")
    inner = _extra(base.hyperparameters) if hasattr(base, "hyperparameters") else None
    if inner:  # the operation's name tells its base's name only
        extra["base"] = inner
    return extra or None


def _says_something(value: Any) -> bool:
    return value is not None and not (hasattr(value, "__len__") and len(value) == 0)


def _plain_text(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain_text(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, np.ndarray):
        return repr(cast("Any", value)) + _digest([value])
    if hasattr(value, "measurements") and hasattr(value, "branches"):
        return _condition(value)
    return repr(value)


def _condition(value: Any) -> dict[str, Any]:
    """What a conditional operation depends on: measurements, and which outcomes let it happen."""
    names = [str(getattr(one, "meas_uid", one)) for one in value.measurements]
    if len(names) > _MAX_CONDITION:
        return {"of": names, "text": repr(value)}
    met = ["".join(map(str, map(int, bits))) for bits, result in value.branches.items() if result]
    return {"of": names, "when": met}


def _measurement(measurement: Any) -> list[Any]:
    name = getattr(measurement, "_shortname", type(measurement).__name__)
    midway = measurement.mv
    observable = _observable_text(measurement.obs) if midway is None else f"mid-circuit {midway}"
    return [str(name), observable, list(measurement.wires.labels)]


def _observable_text(observable: Any) -> str | None:
    if observable is None:
        return None
    simple = _simple(observable)
    if simple is not None:
        return simple
    known, data = _observables.get(id(observable)), tuple(observable.data)
    if known is not None and known[0]() is observable and all(map(is_, known[1], data)):
        return known[2]
    arrays = [value for value in data if np.ndim(value)]
    text = repr(observable) + _digest(arrays)
    if sum(map(np.size, arrays)) <= _MAX_KEPT:
        if len(_observables) >= _MAX_KNOWN:
            _observables.clear()
        _observables[id(observable)] = (weakref.ref(observable), data, text)
    return text


def _simple(observable: Any) -> str | None:
    """The text of an observable that is told by its type and one wire."""
    if observable.hyperparameters or observable.data:
        return None
    key = (_kind(observable), observable.wires.labels)
    text = _simple_observables.get(key)
    if text is None:
        text = repr(observable)
        if len(_simple_observables) >= _MAX_KNOWN:
            _simple_observables.clear()
        _simple_observables[key] = text
    return text


def _digest(arrays: Sequence[Any]) -> str:
    """What NumPy's own text of large arrays leaves out; nothing if there are none."""
    if not arrays:
        return ""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return f" #{digest.hexdigest()[:16]}"


#: A Hamiltonian's text costs milliseconds, and thousands of circuits measure the same one.
_observables: dict[int, tuple[Any, tuple[Any, ...], str]] = {}
_simple_observables: dict[Hashable, str] = {}
