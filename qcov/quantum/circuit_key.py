"""The canonical key of a circuit: equal keys mean equal circuits, in every process and for ever.

PennyLane's own hash of a circuit differs between processes, rounds angles and cuts large matrices,
so that different circuits share it. Here all that an operation is made of goes into a SHA-256:
type, parameters with every bit, wires, hyperparameters. What could change behind the key, such as
the code of a gate that the user wrote, has none.

An operation tells what it is made of by `_flatten` (PennyLane's pytrees build on it), a value
measured in mid-circuit by what it is worth in each branch. Most gates are no more than a type,
wires and numbers; what is written for their type and wires is remembered.
"""

from __future__ import annotations

import hashlib
import itertools
import marshal
import struct
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary

import numpy as np

from qcov.qexecutors.base import Circuit
from qcov.qexecutors.pennylane_compact import CompactCircuit, values_of
from qcov.qexecutors.pennylane_structure import Structure
from qcov.quantum.circuit_structure import labels_of

_VERSION = b"qcov circuit key 1"
_MAX_MEASURED = 8  #: measured values that one expression combines: it has 256 branches
#: Packages whose classes are what their name and version say.
_KNOWN_PACKAGES = frozenset({"pennylane", "pennylane_lightning", "numpy", "builtins"})


class NotKeyed(Exception):
    """A circuit has no key; the message says what in it has none."""


def circuit_key(circuit: Circuit, *context: object) -> bytes:
    """The key of a circuit that runs in a context, such as an executor's settings.

    Raises:
        NotKeyed: Something in it has no canonical form.
    """
    key = _Key(_VERSION + _context_text(context))
    pieces = _pieces_of(circuit.structure) if isinstance(circuit, CompactCircuit) else None
    if pieces is None:
        for operation in circuit.operations:
            key.add_operation(operation)
        key.add_rest(circuit)
    else:
        for piece, value in zip(pieces, values_of(circuit), strict=False):
            key.text += piece
            key.add(value)
        key.text += pieces[-1]
    return hashlib.sha256(key.text).digest()


def _context_text(context: object) -> bytes:
    """What is written for a context: nearly always the one that was written last."""
    if not _is_plain(context):
        return _written(context)
    plain = marshal.dumps(cast("Any", context), _NO_REFERENCES)
    text = _contexts.get(plain)
    if text is None:
        if len(_contexts) >= _MAX_KNOWN:
            _contexts.clear()
        text = _contexts[plain] = _written(context)
    return text


def _is_plain(value: Any) -> bool:
    """Whether marshal tells a value from every other one, as it does with Python's own only."""
    kind = _type(value)
    if kind in (tuple, list):
        return all(map(_is_plain, value))
    if kind is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return kind in _SCALARS


_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_NO_REFERENCES = 2  #: the version of marshal's format that writes equal values alike
_MAX_KNOWN = 512
_contexts: dict[bytes, bytes] = {}


def _written(value: object) -> bytes:
    key = _Key()
    key.add(value)
    return bytes(key.text)


def _pieces_of(structure: Structure) -> list[bytes] | None:
    """What is written before each parameter of a structure's circuits, and after the last one.

    None if one of its gates is more than a type, wires and numbers.
    """
    if structure in _pieces:
        return _pieces[structure]
    pieces, key = list[bytes](), _Key()
    for gate in structure.gates:
        labels = labels_of(gate) if _is_simple(_type(gate)) else None
        if labels is None:
            _pieces[structure] = None
            return None
        key.text += _simple_operation(_type(gate), labels) + _counted(b"(", gate.data)
        for _ in gate.data:
            pieces.append(bytes(key.text))
            key.text.clear()
    key.add_rest(structure)
    _pieces[structure] = [*pieces, bytes(key.text)]
    return _pieces[structure]


_pieces: WeakKeyDictionary[Structure, list[bytes] | None] = WeakKeyDictionary()


class _Key:
    """The bytes that are hashed; every part tells its kind and its length."""

    def __init__(self, text: bytes = b"") -> None:
        self.text = bytearray(text)
        self.measured: dict[str, int] = {}

    def add(self, value: Any) -> None:
        """Write any part of a circuit."""
        _writer(_type(value))(self, value)

    def add_all(self, mark: bytes, values: Sequence[Any]) -> None:
        """Write several parts."""
        self.text += _counted(mark, values)
        for value in values:
            _writer(_type(value))(self, value)

    def turn(self, measuring: Any) -> int:
        """Which of the circuit's measurements in mid-circuit it is."""
        return self.measured.setdefault(measuring.meas_uid, len(self.measured))

    def add_operation(self, operation: Any) -> None:
        """Write an operation of the circuit."""
        labels = labels_of(operation) if _is_simple(_type(operation)) else None
        if labels is None:
            self.add(operation)
            return
        self.text += _simple_operation(_type(operation), labels)
        self.add_all(b"(", operation.data)

    def add_rest(self, circuit: Circuit | Structure) -> None:
        """Write what follows the operations of a circuit."""
        for measurement in circuit.measurements:
            self.add(measurement)
        for copies in circuit.shots.shot_vector:
            self.add((copies.shots, copies.copies))


# -- operations that are a type, wires and numbers -----------------------------------------------


@cache
def _is_simple(kind: Any) -> bool:
    """Whether operations of a type are made of what every operation has, or control such a one."""
    return kind._flatten.__qualname__ in ("Operator._flatten", "ControlledOp._flatten") or (
        kind.__name__ in ("CNOT", "CZ", "CY", "CH", "CRX", "CRY", "CRZ", "CRot", "Toffoli")
    )


@lru_cache(4096)
def _simple_operation(kind: type[Any], labels: Hashable) -> bytes:
    key = _Key(_kind(b"g", kind))
    key.add(_normal(labels))
    return bytes(key.text)


def _normal(label: Any) -> Any:
    """A label of a wire, or several, in one form: 1, 1.0, True and NumPy's 1 are the same wire."""
    if isinstance(label, tuple):
        return tuple([_normal(one) for one in cast("tuple[Any, ...]", label)])
    whole = isinstance(label, float) and label.is_integer()
    return int(cast("Any", label)) if whole or isinstance(label, _WHOLE) else label


_WHOLE = (bool, np.bool_, np.integer)


# -- everything else -----------------------------------------------------------------------------


def _add_array(key: _Key, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise NotKeyed("it holds an array of Python objects")
    key.text += _kind(b"a", _type(value))  # PennyLane's own arrays give results of that type
    key.text += _sized(b"", f"{array.dtype.str}{array.shape}".encode())
    key.text += array.tobytes()


def _add_operator(key: _Key, value: Any) -> None:
    key.text += _kind(b"o", _type(value))
    key.add(value._flatten())
    dtype = getattr(value, "_dtype", None)  # of samples, which PennyLane leaves out
    if dtype is not None:
        key.text += _sized(b"t", str(dtype).encode())


def _add_measuring(key: _Key, value: Any) -> None:
    """A measurement in mid-circuit: its id is new each time, its turn is not."""
    data, (wires, parts) = value._flatten()
    settings = {name: part for name, part in parts if name != "meas_uid"}
    key.text += _kind(b"m", _type(value))
    key.add((data, wires, key.turn(value), settings))


def _add_measured(key: _Key, value: Any) -> None:
    """What was measured, and what the expression over it is worth in each branch.

    An expression lists its measurements by their ids, which are random; here they go by their turn.
    """
    measurements = value.measurements
    if len(measurements) > _MAX_MEASURED:
        raise NotKeyed(f"an expression combines {len(measurements)} mid-circuit measurements")
    order = sorted(range(len(measurements)), key=lambda place: key.turn(measurements[place]))
    key.add_all(b"v", [measurements[place] for place in order])
    if value.has_processing:
        places = [order.index(place) for place in range(len(order))]
        branches = itertools.product((0, 1), repeat=len(order))
        key.add_all(b"?", [value.processing_fn(*[b[place] for place in places]) for b in branches])


def _add_mapping(key: _Key, value: Mapping[Any, Any]) -> None:
    """Pairs in any order: equal mappings have equal keys."""
    key.text += _kind(b"d", _type(value))
    key.add_all(b"{", sorted(_pair(key, *pair) for pair in value.items()))


def _pair(key: _Key, name: Any, value: Any) -> bytes:
    pair = _Key()
    pair.measured = key.measured
    pair.add((name, value))
    return bytes(pair.text)


def _add_sparse(key: _Key, value: Any) -> None:
    matrix = value.tocsr()
    matrix.sum_duplicates()
    key.add(("sparse", matrix.shape, matrix.data, matrix.indices, matrix.indptr))


def _add_shots(key: _Key, value: Any) -> None:
    key.add_all(b"n", [(copies.shots, copies.copies) for copies in value.shot_vector])


def _add_float(key: _Key, value: float) -> None:
    key.text += b"f" + _DOUBLE.pack(value)


def _add_complex(key: _Key, value: complex) -> None:
    key.text += b"c" + _DOUBLE.pack(value.real) + _DOUBLE.pack(value.imag)


_DOUBLE = struct.Struct("<d")
_Writer: TypeAlias = Callable[[_Key, Any], None]

#: By type; else by base class or by what the type can do, in this order.
_TYPES: dict[type[Any], _Writer] = {
    float: _add_float,
    np.float64: _add_float,
    complex: _add_complex,
    int: lambda key, value: key.text.extend(_sized(b"i", str(value).encode())),
    bool: lambda key, value: key.text.extend(b"B1" if value else b"B0"),
    str: lambda key, value: key.text.extend(_sized(b"s", value.encode("utf-8", "surrogatepass"))),
    bytes: lambda key, value: key.text.extend(_sized(b"y", value)),
    type(None): lambda key, _: key.text.extend(b"0"),
}
_BASES: tuple[tuple[Any, _Writer], ...] = (
    ((list, tuple), lambda key, value: key.add_all(b"[", value)),
    ((np.ndarray, np.generic), _add_array),
    (type, lambda key, value: key.text.extend(_kind(b"T", value))),
)
_ABILITIES: tuple[tuple[str, _Writer], ...] = (
    ("labels", lambda key, value: key.add_all(b"w", _normal(value.labels))),
    ("meas_uid", _add_measuring),
    ("_flatten", _add_operator),
    ("branches", _add_measured),
    ("tocsr", _add_sparse),
    ("shot_vector", _add_shots),
    ("items", _add_mapping),
)


@cache
def _writer(kind: type[Any]) -> _Writer:
    if kind in _TYPES:
        return _TYPES[kind]
    for base, writer in _BASES:
        if issubclass(kind, base):
            return writer
    for ability, writer in _ABILITIES:
        if hasattr(kind, ability):
            return writer
    return _refuse


def _refuse(key: _Key, value: Any) -> None:  # noqa: ARG001  # as writers are called
    raise NotKeyed(f"its {type(value).__name__} has no canonical form")


def _type(value: Any) -> type[Any]:
    return cast("type[Any]", type(value))


def _counted(mark: bytes, values: Sequence[Any]) -> bytes:
    return mark + struct.pack("<I", len(values))


def _sized(mark: bytes, data: bytes) -> bytes:
    return mark + struct.pack("<I", len(data)) + data


def _kind(mark: bytes, kind: type[Any]) -> bytes:
    if kind.__module__.partition(".")[0] not in _KNOWN_PACKAGES:
        raise NotKeyed(f"the code of {kind.__qualname__}, which is not PennyLane's, may change")
    return _sized(mark, f"{kind.__module__}.{kind.__qualname__}".encode())
