"""Functions of Python files and of C libraries, loaded where they run."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from qcov.classical.deps import shown
from qcov.classical.files_read import FILES_READ, SourceFile
from qcov.errors import LeptonFailed, WrongSetting, suggest

INPUT, OUTPUT, INPUT_OUTPUT = range(3)  #: what an argument of a C function is


class PythonFunction:
    """A function in a Python file, loaded where it runs."""

    def __init__(self, name: str, library: str, function: str) -> None:
        self.__name__, self.lepton_source = name, f"{library}: {function}"
        self._library, self._function = library, function

    def __qcov_key__(self) -> object:
        """What keys of it are made from."""
        return self._function, SourceFile(self._library)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Load the file, and call the function in it."""
        note_reading(self._library)
        spec = importlib.util.spec_from_file_location(Path(self._library).stem, self._library)
        if spec is None or spec.loader is None or not Path(self._library).is_file():
            raise _no_library(self.__name__, self._library, "it is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not hasattr(module, self._function):
            raise LeptonFailed(
                lepton=self.__name__,
                reason=f"{self._library} has no {self._function!r}",
                advice=suggest(self._function, vars(module)),
            )
        return getattr(module, self._function)(*args, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument of a C function; ctypes' pointers themselves do not travel."""

    type: str  #: name of a ctypes type
    pointer: bool
    attribute: int

    def ctype(self) -> Any:
        """Its type as ctypes knows it."""
        plain: Any = getattr(ctypes, self.type)
        return cast("Any", ctypes.POINTER)(plain) if self.pointer else plain

    def array(self, given: Any) -> np.ndarray[Any, Any]:
        """A copy of what was given, for C to read and to write."""
        return np.array(given, dtype=np.dtype(getattr(ctypes, self.type)), order="C", ndmin=1)


class CFunction:
    """A function in a shared library."""

    def __init__(
        self, name: str, library: str, function: str, parameters: Sequence[Parameter]
    ) -> None:
        self.__name__, self.lepton_source = name, f"{library}: {function}"
        self._library, self._function, self._parameters = library, function, parameters

    def __qcov_key__(self) -> object:
        """What keys of it are made from."""
        parameters = [(each.type, each.pointer, each.attribute) for each in self._parameters]
        return self._function, parameters, content_of(self._library)

    def __call__(self, *args: Any) -> Any:
        """Call it; what it has written comes back in the form of what was given."""
        function = self._load()
        function.argtypes = [parameter.ctype() for parameter in self._parameters]
        function.restype = None
        given = self._complete(args)
        arrays: dict[int, np.ndarray[Any, Any]] = {}
        passed: list[Any] = []
        for at, (parameter, value) in enumerate(zip(self._parameters, given, strict=True)):
            if parameter.pointer:
                arrays[at] = parameter.array(value)
                passed.append(arrays[at].ctypes.data_as(parameter.ctype()))
            else:
                passed.append(self._fitting(parameter, value))
        function(*passed)
        outputs = tuple(
            _like(given[at], array)
            for at, array in arrays.items()
            if self._parameters[at].attribute != INPUT
        )
        return outputs[0] if len(outputs) == 1 else outputs or None

    def _fitting(self, parameter: Parameter, value: Any) -> Any:
        """The same; a whole number that C's type does not hold would silently be another one."""
        if isinstance(value, np.generic):  # NumPy's numbers are not ctypes'
            value = cast("Any", value).item()
        held = parameter.ctype()(value).value if isinstance(value, int) else value
        if isinstance(held, int) and held != value and not isinstance(held, bool):
            raise LeptonFailed(
                lepton=self.__name__,
                reason=f"{shown(value)} does not fit into a {parameter.type}",
                advice="Give a number that this type holds, or declare a larger type.",
            )
        return value

    def _load(self) -> Any:
        note_reading(self._library)  # a process that has loaded one never loads it again
        try:
            library = ctypes.CDLL(self._library)
        except OSError as error:
            raise _no_library(self.__name__, self._library, str(error)) from error
        try:
            return library[self._function]
        except AttributeError as error:
            raise LeptonFailed(
                lepton=self.__name__,
                reason=f"{self._library} has no function {self._function!r}",
                advice='In C++, declare it as extern "C".',
            ) from error

    def _complete(self, args: Sequence[Any]) -> list[Any]:
        """All arguments: outputs that were left out are single numbers."""
        needed = [each for each in self._parameters if each.attribute != OUTPUT]
        if len(args) == len(self._parameters):
            return list(args)
        if len(args) != len(needed):
            raise LeptonFailed(
                lepton=self.__name__,
                reason=f"it takes {len(self._parameters)} arguments, outputs among them, or "
                f"{len(needed)} without these; it was given {len(args)}",
                advice="Give them in the order of argtypes.",
            )
        left = iter(args)
        return [0 if each.attribute == OUTPUT else next(left) for each in self._parameters]


def _like(given: Any, array: np.ndarray[Any, Any]) -> Any:
    """What C has written, in the form of what was given."""
    if isinstance(given, np.ndarray):
        return array.reshape(cast("np.ndarray[Any, Any]", given).shape)
    if isinstance(given, (list, tuple)):
        return array.tolist()
    return array.flat[0].item()


def parameter(pair: Any) -> Parameter:
    """A pair of `argtypes`. Raises `WrongSetting` for what is none."""
    try:
        kind, attribute = pair
        pointed = getattr(kind, "_type_", None)
        pointer = isinstance(pointed, type)
        name = str(getattr(pointed if pointer else kind, "__name__"))  # noqa: B009
        fits = attribute in (INPUT, OUTPUT, INPUT_OUTPUT) and hasattr(ctypes, name)
        fits = fits and (pointer or attribute == INPUT)
    except (TypeError, ValueError, AttributeError):
        fits, name, pointer, attribute = False, "", False, INPUT
    if not fits:
        raise WrongSetting(
            setting="argtypes",
            got=f"{shown(pair)} among them",
            expected="pairs such as (c_int, Lepton.INPUT) or (POINTER(c_double), Lepton.OUTPUT), "
            "of ctypes' simple types; outputs are pointers",
        )
    return Parameter(type=name, pointer=pointer, attribute=attribute)


def content_of(library: str) -> str:
    """The digest of a library: what is kept for one is not taken for another one."""
    return hashlib.sha256(Path(library).read_bytes()).hexdigest()


def note_reading(library: str) -> None:
    """Let the worker know that code is about to be read from a file."""
    FILES_READ.note_now(os.path.abspath(library))  # noqa: PTH100  # links stay as they are


def _no_library(lepton: str, library: str, reason: str) -> LeptonFailed:
    advice = "Give the whole path, as it is where the electron runs."
    return LeptonFailed(
        lepton=lepton, reason=f"{library} cannot be loaded: {reason}", advice=advice
    )
