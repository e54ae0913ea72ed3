"""Reuse of results: a circuit that ran before need not run again.

A result is kept under a key of the circuit and of all that its executor says decides about results;
see `qcov.quantum.circuit_key`. What has no key runs as ever, and its record says why.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from qcov.errors import CacheUnavailable, InvalidSetting
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitResult
from qcov.quantum.circuit_key import NotKeyed, circuit_key
from qcov.settings import data_dir
from qcov.store.cache import CacheFile
from qcov.wire import pack, unpack

_FILE = "circuit_cache.sqlite"
_MAX_RESULT = 2**24  # bytes of one result

#: What a record says of a circuit that was asked of a cache; else it says why it could not be.
HIT, STORED = "hit", "stored"


class CircuitCache:
    """Results of circuits, kept in a file: the same circuit on an equal executor runs once.

    Processes and electrons on one machine share the file, and it survives them. Circuits are the
    same if all of their operations, parameters (with every bit), wires, measurements and shots are,
    on an executor with the same device, options and versions. Derivatives that a simulator takes
    by itself (adjoint, backprop) do not go through the cache; shifted circuits do.

    Args:
        path: The file; `circuit_cache.sqlite` in qcov's data folder by default.
        shots: Whether circuits with finite shots are kept too: asked again, they give the very same
            samples, so errors of repeated calls no longer average out. Not unless you ask for it.
        size_limit: Bytes that it may hold; the oldest results go when it is full.

    Raises:
        InvalidSetting: An argument has a wrong value, or there is a folder at `path`; a ValueError.

    Example:
        >>> import tempfile
        >>> import pennylane as qml
        >>> from qcov.quantum.qelectron import qelectron
        >>> cache = CircuitCache(tempfile.mkdtemp() + "/results.sqlite")
        >>> @qelectron(cache=cache)
        ... @qml.qnode(qml.device("default.qubit", wires=1))
        ... def circuit(angle):
        ...     qml.RX(angle, wires=0)
        ...     return qml.expval(qml.Z(0))
        >>> bool(circuit(0.3) == circuit(0.3))
        True
        >>> [record.cache for record in circuit.history]
        ['stored', 'hit']
    """

    def __init__(
        self, path: str | Path | None = None, *, shots: bool = False, size_limit: int = 2**30
    ) -> None:
        _check(path, shots, size_limit)
        self.path = None if path is None else _file_at(path)
        self.shots, self.size_limit = shots, size_limit
        self._file: CacheFile | None = None

    def __len__(self) -> int:
        """How many results are kept.

        Raises:
            CacheUnavailable: The file cannot be used.
        """
        with self._reachable() as file:
            return len(file)

    def clear(self) -> None:
        """Forget all results.

        Raises:
            CacheUnavailable: The file cannot be used.
        """
        with self._reachable() as file:
            file.clear()

    def __repr__(self) -> str:
        where = "" if self.path is None else f"{str(self.path)!r}, "
        return f"CircuitCache({where}shots={self.shots}, size_limit={self.size_limit})"

    def __bool__(self) -> bool:
        return True  # an empty cache is a cache

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CircuitCache) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    # -- for the router ----------------------------------------------------------------------

    def key(self, circuit: Circuit, executor: BaseQExecutor, *how: object) -> bytes:
        """The key of a circuit that runs on an executor; `how` is what else decides.

        Raises:
            NotKeyed: It cannot be kept; the message says why.
        """
        if circuit.shots and not self.shots:
            raise NotKeyed("it has finite shots; CircuitCache(shots=True) keeps their samples")
        try:
            settings = executor.cache_key()
        except Exception as error:  # the executor may be the user's, and its circuits run as ever
            reason = f"cache_key of {executor.name} raised {type(error).__name__}: {error}"
            raise NotKeyed(reason) from error
        if settings is None:
            raise NotKeyed(f"{executor.name} does not say what its results depend on (cache_key)")
        return circuit_key(circuit, settings, *how)

    def get(self, key: bytes) -> CircuitResult | None:
        """The result that was kept under a key.

        Raises:
            NotKeyed: The file cannot be used; the message says why.
        """
        try:
            data = self._opened().get(key)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        if data is None:
            return None
        try:
            packed, device, backend = unpack(data)
            value = _unpacked(packed)
        except Exception as error:  # whatever damaged bytes lead to: the circuit runs as ever
            raise NotKeyed(f"its entry in the cache {self._opened().path} is damaged") from error
        return CircuitResult(value=value, execution_time=0.0, device=device, backend=backend)

    def put(self, results: Iterable[tuple[bytes, Any]]) -> list[str]:
        """Keep results under their keys; says of each that it is stored, or why it is not."""
        said: list[str] = []
        entries: list[tuple[bytes, bytes]] = []
        for key, result in results:
            try:
                entries.append((key, _packed_result(result)))
            except NotKeyed as reason:
                said.append(not_cached(reason))
            else:
                said.append(STORED)
        try:
            self._opened().put(entries)
        except (OSError, sqlite3.Error) as error:
            return [not_cached(self._unusable(error))] * len(said)
        return said

    def _opened(self) -> CacheFile:
        if self._file is None:
            self._file = CacheFile(self.path or data_dir() / _FILE, self.size_limit)
        return self._file

    @contextmanager
    def _reachable(self) -> Generator[CacheFile]:
        file = self._opened()
        try:
            yield file
        except (OSError, sqlite3.Error) as error:
            raise CacheUnavailable(path=str(file.path), reason=str(error)) from error

    def _unusable(self, error: Exception) -> NotKeyed:
        return NotKeyed(f"the cache {self._opened().path} cannot be used ({error})")

    def _settings(self) -> tuple[object, ...]:
        return (self.path, self.shots, self.size_limit)


def not_cached(reason: NotKeyed) -> str:
    """What a record says of a circuit that is not kept.

    >>> not_cached(NotKeyed("it has finite shots"))
    'not cached: it has finite shots'
    """
    return f"not cached: {reason}"


def as_cache(cache: object) -> CircuitCache | None:
    """The cache that a user means: True is one at the usual place, False and None are none.

    >>> as_cache(True), as_cache(None)
    (CircuitCache(shots=False, size_limit=1073741824), None)
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        return CircuitCache()
    if isinstance(cache, CircuitCache):
        return cache
    reason = f"must be True, False or a CircuitCache, not {cache!r}"
    raise InvalidSetting(executor="qelectron", setting="cache", reason=reason)


def _check(path: object, shots: object, size_limit: object) -> None:
    if not (path is None or isinstance(path, str | Path)):
        raise _wrong("path", "a path", path)
    if not isinstance(shots, bool):
        raise _wrong("shots", "True or False", shots)
    if not isinstance(size_limit, int) or isinstance(size_limit, bool) or size_limit < 1:
        raise _wrong("size_limit", "a whole number of bytes above 0", size_limit)


def _file_at(path: str | Path) -> Path:
    try:
        there = Path(path).expanduser().absolute()
        if b"\0" in os.fsencode(there):
            raise _wrong("path", "the path of a file", path)
    except (RuntimeError, UnicodeError) as error:  # no such user's home, no such characters
        raise _wrong("path", "the path of a file", path) from error
    if _is_folder(there):
        expected = f"the path of a file, such as {str(there / _FILE)!r}"
        raise _wrong("path", expected, f"{path} (a folder)")
    return there


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it shows when the file is opened
        return False


def _wrong(setting: str, expected: str, value: object) -> InvalidSetting:
    reason = f"must be {expected}, not {value!r}"
    return InvalidSetting(executor="CircuitCache", setting=setting, reason=reason)


# -- results as bytes, exactly --------------------------------------------------------------------


def _packed_result(result: Any) -> bytes:
    device = backend = None
    if isinstance(result, CircuitResult):
        result, device, backend = result.value, result.device, result.backend
    data = pack((_packed(result), device, backend))
    if len(data) > _MAX_RESULT:
        raise NotKeyed(f"its result takes {len(data)} bytes")
    return data


def _packed(value: Any) -> Any:
    kind = cast("type[Any]", type(value))
    if value is None or kind in (bool, float, str):
        return value
    packed = _PACKED.get(kind)
    if packed is not None:
        return packed(value)
    if isinstance(value, np.generic):
        return _packed_array(value)
    if adapter.is_tensor(value):
        return ["tensor", bool(value.requires_grad), *_packed_array(value)[1:]]
    raise NotKeyed(f"its result is a {kind.__name__}")


def _packed_all(mark: str, values: Iterable[Any]) -> list[Any]:
    return [mark, *map(_packed, values)]


def _packed_array(value: Any) -> list[Any]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise NotKeyed("its result is an array of Python objects")
    shape = None if isinstance(value, np.generic) else list(array.shape)
    return ["array", array.dtype.str, shape, array.tobytes()]


def _unpacked_array(dtype: str, shape: list[int] | None, content: bytes) -> Any:
    array = np.frombuffer(content, dtype)
    return array[0] if shape is None else array.reshape(shape).copy()


def _unpacked_tensor(trainable: bool, *parts: Any) -> Any:
    return adapter.as_tensor(_unpacked_array(*parts), requires_grad=trainable)


def _unpacked(data: Any) -> Any:
    if not isinstance(data, list):
        return data
    mark, *parts = cast("list[Any]", data)
    return _UNPACKED[mark](*parts)


_PACKED: dict[type[Any], Callable[[Any], list[Any]]] = {
    int: lambda value: ["int", str(value)],  # of any size
    complex: lambda value: ["complex", value.real, value.imag],
    np.ndarray: _packed_array,
    tuple: lambda value: _packed_all("tuple", value),
    list: lambda value: _packed_all("list", value),
    dict: lambda value: ["dict", *[(_packed(name), _packed(item)) for name, item in value.items()]],
}
_UNPACKED: dict[str, Callable[..., Any]] = {
    "int": int,
    "complex": complex,
    "array": _unpacked_array,
    "tensor": _unpacked_tensor,
    "tuple": lambda *parts: tuple(map(_unpacked, parts)),
    "list": lambda *parts: list(map(_unpacked, parts)),
    "dict": lambda *pairs: {_unpacked(name): _unpacked(item) for name, item in pairs},
}
