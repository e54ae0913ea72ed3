"""How objects travel: versioned, content-addressed, sealed pickles.

This is the only module that pickles or unpickles. A *blob* is a header that says which Python,
cloudpickle and qcov made it, followed by the pickle. The header is checked before anything is
loaded. A blob is addressed by the SHA-256 of all its bytes; the store *seals* that address
together with the place that it was stored for, under a key that never leaves the store's host, so
that a blob from elsewhere is refused.
"""

from __future__ import annotations

import copyreg
import functools
import gc
import hashlib
import hmac
import io
import json
import pickle
import pickletools
import reprlib
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from types import ModuleType
from typing import Any, ClassVar, cast

import cloudpickle

from qcov.errors import IntegrityError, SerializationError, VersionMismatch

_MAGIC = b"QCOV"
_SCHEMA = 1
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_HEADER = json.dumps(
    {"schema": _SCHEMA, "python": _PYTHON, "cloudpickle": cloudpickle.__version__}
).encode()
_PREFIX = _MAGIC + len(_HEADER).to_bytes(2, "big") + _HEADER
_CloudPickler: Any = vars(cloudpickle)["CloudPickler"]  # it is not typed
_register = cast("Callable[[ModuleType], None]", vars(cloudpickle)["register_pickle_by_value"])
_unregister = cast("Callable[[ModuleType], None]", vars(cloudpickle)["unregister_pickle_by_value"])
_registered = cast(
    "Callable[[], set[str]]",
    vars(import_module("cloudpickle.cloudpickle"))["list_registry_pickle_by_value"],
)
_NO_FILE = "<dynamic-code>"  # what cloudpickle writes in place of a file's name
_DEEP = 100  # containers within containers that are compared
_LOOKED_AT = 5_000  # opcodes, some ten microseconds each at most
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
#: Exact types whose plain pickle is the same as cloudpickle's, only ten times faster.
_ATOMS = frozenset({int, float, complex, str, bytes, bool, type(None)})


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """Code keeps the name of its file, for tracebacks; cloudpickle 3.1.2 and later leave it out.

    The name is a text of its own each time: pickles would differ by whether it is shared.
    """
    make, about = _CloudPickler.dispatch_table[types.CodeType](code)
    return make, tuple("".join(code.co_filename) if one == _NO_FILE else one for one in about)


class _Pickler(_CloudPickler):
    dispatch_table: ClassVar[Any] = ChainMap(
        {types.CodeType: _reduce_code}, *_CloudPickler.dispatch_table.maps
    )


def dumps(value: object, *, what: str) -> bytes:
    """Turn `value` into a blob; `what` names it in the error if that fails.

    >>> loads(dumps([1, 2.5], what="a list"))
    [1, 2.5]
    """
    try:
        if type(value) in _ATOMS:
            return _PREFIX + pickle.dumps(value, protocol=5)
        with io.BytesIO() as blob:  # no copy of what may be large, to put the header before it
            blob.write(_PREFIX)
            _Pickler(blob, protocol=5).dump(value)
            return blob.getvalue()
    except Exception as error:  # pickling runs the user's own __reduce__: anything can be raised
        reason = f"{type(error).__name__}: {error}"
        raise SerializationError(what=what, reason=reason) from error


def _reduce_cached(cached: Any) -> Any:
    """A function in `functools.lru_cache` travels by value where its function does."""
    function = cached.__wrapped__
    module = sys.modules.get(function.__module__)
    if function.__module__ != "__main__" and module is not None:
        return cached.__reduce__()
    return _cache, (function, cached.cache_parameters())


def _cache(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


copyreg.pickle(type(functools.lru_cache(abs)), _reduce_cached)


def pickle_by_value(module: ModuleType) -> None:
    """Let what a module defines travel whole: other processes need not find the module."""
    _register(module)


@contextmanager
def by_value(modules: Iterable[ModuleType]) -> Generator[None, None, None]:
    """What these modules define travels whole if it is pickled inside."""
    known = _registered()
    added = [
        module
        for module in modules
        # what cannot be imported here travels whole anyway
        if module.__name__ not in known and module.__name__ in sys.modules
    ]
    for module in added:
        _register(module)
    try:
        yield
    finally:
        for module in added:
            _unregister(module)


def loads(blob: bytes, *, digest: str | None = None) -> Any:
    """Rebuild the object of a blob, after checking its digest (if given) and its header.

    Raises `IntegrityError` for bytes that are not the blob they should be, `VersionMismatch` for
    a blob that another Python made.
    """
    if digest is not None:
        verify(blob, digest)
    start = check_header(blob)
    with _quiet_gc():
        return pickle.loads(memoryview(blob)[start:])


#: What stands for a large part of an object, which pickle can send without copying it.
Buffer = pickle.PickleBuffer


@dataclass(frozen=True, slots=True)
class Named:
    """What travels as a name only: whoever gets it imports it."""

    module: str
    name: str  #: qualified


class Reducer:
    """Says of objects how they travel, without making a pickle of them."""

    def __init__(self) -> None:
        self._pickler: Any = _CloudPickler(io.BytesIO(), protocol=5)

    def __call__(self, value: Any) -> Named | tuple[Any, ...]:
        """The name that an object travels as, or what its copy is made from.

        The latter is what `__reduce_ex__` returns. Not for atoms and plain containers, which
        pickle writes as they are. Raises whatever the object's own methods raise.
        """
        kind = cast("type[Any]", type(value))
        reduced = self._pickler.reducer_override(value)
        if reduced is NotImplemented:
            if issubclass(kind, type) or kind is types.FunctionType:
                return _named(value, value.__qualname__)
            reduce = self._pickler.dispatch_table.get(kind)
            reduced = value.__reduce_ex__(5) if reduce is None else reduce(value)
        return _named(value, reduced) if isinstance(reduced, str) else reduced


def _named(value: object, name: str) -> Named:
    module: str = vars(pickle)["whichmodule"](value, name)  # it is not typed
    return Named(module, name)


def names_in(blob: bytes) -> Iterator[str]:
    """The text in a blob, found without loading it: it names what loading would import.

    Where a function that travels by value comes from is left out: that is not imported. Of a long
    blob only the beginning is looked at.
    """
    memo: list[str] = []
    last = ""
    for opcode, value, _ in islice(pickletools.genops(blob[check_header(blob) :]), _LOOKED_AT):
        if opcode.name == "MEMOIZE":
            memo.append(last)
            continue
        text = memo[cast("int", value)] if opcode.name.endswith("BINGET") else value
        told, last = last, text if isinstance(text, str) else ""
        if last and told not in ("__module__", "__name__", "__package__"):
            yield last


def verify(blob: bytes, digest: str) -> None:
    """Raise `IntegrityError` unless `digest` is the blob's; nothing is loaded."""
    if not hmac.compare_digest(address(blob), digest):
        raise IntegrityError(blob=digest, reason="its content does not match its digest")


def address(blob: bytes) -> str:
    """The blob's content address: its SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(blob).hexdigest()


def fingerprint(value: object) -> str:
    """A digest that equal data share, whichever process it is in.

    Numbers, text, bytes, containers and arrays are compared by what is in them; of any other object
    only the type is: its pickle, like its `repr`, may differ from one run to the next.

    >>> fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    True
    >>> fingerprint([1]) == fingerprint((1,))
    False
    """
    return address(_canonical(value, ()))


def _canonical(value: object, above: tuple[int, ...]) -> bytes:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind in _ATOMS:
        return repr((name, value)).encode()
    if id(value) in above or len(above) > _DEEP:
        return b"a circle, or nearly"
    if kind in _CONTAINERS:
        inside = (*above, id(value))
        if isinstance(value, dict):
            content = list[object](cast("dict[object, object]", value).items())
        else:
            content = list(cast("list[object]", value))
        if isinstance(value, (list, tuple)) and all(type(part) in _ATOMS for part in content):
            return repr((name, content)).encode()  # long lists are of numbers
        parts = [_canonical(part, inside) for part in content]
        ordered = parts if isinstance(value, (list, tuple)) else sorted(parts)
        return repr((name, [address(part) for part in ordered])).encode()
    data = _array_bytes(value)
    return repr((name, data)).encode()


def _array_bytes(value: object) -> tuple[str, ...]:
    """What an array (anything with NumPy's interface) holds; nothing for any other object."""
    array: Any = value
    try:
        if array.dtype.hasobject:
            return ()
        return str(array.dtype), str(array.shape), address(array.tobytes())
    except (AttributeError, TypeError):
        return ()


def seal(key: bytes, *parts: object) -> str:
    """Bind `parts` (a digest and the place it is stored for) to an installation's key."""
    text = repr([str(part) for part in parts])  # unlike a plain join, this cannot be ambiguous
    return hmac.digest(key, text.encode(), "sha256").hex()


def check_seal(key: bytes, expected: str | None, digest: str, *parts: object) -> None:
    """Raise `IntegrityError` unless `expected` seals `digest` and `parts` under `key`."""
    if expected is None or not hmac.compare_digest(seal(key, digest, *parts), expected):
        raise IntegrityError(blob=digest, reason="its seal is missing or was made elsewhere")


def check_header(blob: bytes) -> int:
    """Check who made the blob; return where its pickle starts. Nothing of it is loaded.

    Raises:
        IntegrityError: it is none of ours.
        VersionMismatch: it was made by another Python or schema.
    """
    if blob.startswith(_PREFIX):
        return len(_PREFIX)
    if not blob.startswith(_MAGIC):
        raise IntegrityError(blob=address(blob), reason="it has no qcov header")
    start = 6 + int.from_bytes(blob[4:6], "big")
    try:
        header = cast("dict[str, object]", json.loads(blob[6:start]))
        made_by = f"qcov schema {header['schema']} on Python {header['python']}"
        same = header["schema"] == _SCHEMA and header["python"] == _PYTHON
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(blob=address(blob), reason="its header is damaged") from error
    if not same:
        here = f"qcov schema {_SCHEMA} on Python {_PYTHON}"
        raise VersionMismatch(what=f"blob {address(blob)[:12]}", made_by=made_by, here=here)
    return start


@contextmanager
def _quiet_gc() -> Generator[None, None, None]:
    """Keep the collector from walking a half-built object graph again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class TransportableObject:
    """An object on its way between processes, with what people see of it.

    It compares equal to another one with the same bytes and to the plain value it carries.

    >>> sent = TransportableObject([1, 2])
    >>> sent.get_deserialized(), str(sent), sent == [1, 2]
    ([1, 2], '[1, 2]', True)
    """

    __slots__ = ("_source", "_text")

    def __init__(self, obj: object) -> None:
        self._source: bytes | Callable[[], bytes] = dumps(
            obj, what=f"an object of type {type(obj).__name__}"
        )
        self._text = shorten(obj)

    @classmethod
    def from_blob(cls, blob: bytes, text: str) -> TransportableObject:
        """Wrap a blob that exists already; `text` is shown for it."""
        made = cls.__new__(cls)
        made._source, made._text = blob, text
        return made

    @classmethod
    def from_source(cls, source: Callable[[], bytes], text: str) -> TransportableObject:
        """Wrap a blob that is fetched when somebody needs it."""
        made = cls.__new__(cls)
        made._source, made._text = source, text
        return made

    @property
    def _blob(self) -> bytes:
        if not isinstance(self._source, bytes):
            self._source = self._source()
        return self._source

    @classmethod
    def make_transportable(cls, obj: object) -> TransportableObject:
        """Wrap `obj` unless it is wrapped already."""
        return obj if isinstance(obj, TransportableObject) else cls(obj)

    @property
    def object_string(self) -> str:
        """What people see of the object: its `repr`, cut to a limit."""
        return self._text

    @property
    def python_version(self) -> str:
        """The Python that made the object."""
        header = json.loads(self._blob[6 : 6 + int.from_bytes(self._blob[4:6], "big")])
        return str(header["python"])

    def get_deserialized(self) -> Any:
        """The object itself."""
        return loads(self._blob)

    def serialize(self) -> bytes:
        """The blob."""
        return self._blob

    @classmethod
    def deserialize(cls, data: bytes) -> TransportableObject:
        """The inverse of `serialize`."""
        return cls.from_blob(data, shorten(loads(data)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TransportableObject):
            return self._blob == other._blob or bool(
                self.get_deserialized() == other.get_deserialized()
            )
        return bool(self.get_deserialized() == other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # equal to unhashable values

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"TransportableObject({self._text})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TransportableObject.from_blob, (self._blob, self._text)


def shorten(value: object, limit: int = 1000) -> str:
    """The object's `repr`, never longer than `limit`, never an exception.

    >>> shorten(list(range(10_000)), limit=20)
    '[0, 1, 2, 3, 4, 5...'
    """
    try:
        # repr of a huge container costs more than running the electron did
        big = type(value) in _CONTAINERS and len(cast("Sized", value)) > limit
        text = _brief(value) if big else repr(value)
    except Exception as error:  # noqa: BLE001  # the user's own __repr__: anything can be raised
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _brief(value: object) -> str:
    brief = reprlib.Repr()
    brief.maxlist = brief.maxtuple = brief.maxdict = brief.maxset = brief.maxfrozenset = 200
    return brief.repr(value)
