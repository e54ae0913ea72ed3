"""Leptons: electrons whose code is a shell command, a C library or a Python file."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Unpack, cast, overload

import numpy as np

from qcov.classical.checks import check_function
from qcov.classical.deps import shown
from qcov.classical.electron import Electron
from qcov.classical.metadata import ElectronSettings
from qcov.errors import LeptonFailed, WrongSetting, suggest

__all__ = ["Lepton", "bash"]

_INPUT, _OUTPUT, _INPUT_OUTPUT = range(3)
_LANGUAGES = {"python": "python", "c": "C", "bash": "bash", "shell": "bash"}
_TOLD = 2000  # characters of what a command said, in an error


class Lepton(Electron):
    """An electron in another language.

    Args:
        language: `"python"`, `"C"` or `"bash"`.
        library_name: The file: a Python module, a shared library, or a script that defines shell
            functions.
        function_name: The function in it.
        argtypes: For C: a pair for each argument, its ctypes type and `Lepton.INPUT`,
            `Lepton.OUTPUT` or `Lepton.INPUT_OUTPUT`. For bash: pairs of a Python type and
            `Lepton.OUTPUT`, one for each of `named_outputs`.
        command: For bash: commands. Arguments are `$1`, `$2`, ..., keyword arguments are variables.
        named_outputs: For bash: variables whose values are returned.
        display_name: The name of its nodes; the function's by default.
        **settings: Those of `ct.electron`.

    A C function is called with all of its arguments; those that are only outputs may be left out
    where they are single numbers. Numbers, lists and NumPy arrays are accepted for pointers, and
    what is returned has the form of what was given; nothing that was given is changed. One output
    is returned as it is, several as a tuple.

    A shell command returns its named outputs, as text unless `argtypes` says otherwise, or what it
    printed to its standard output, without the last line break.

    Raises:
        WrongSetting: the language, or what it needs, is missing or wrong.

    >>> shout = Lepton("bash", command='echo "${1^^}!"')
    >>> shout("hello")
    HELLO!
    'HELLO!'
    """

    INPUT: ClassVar[int] = _INPUT
    OUTPUT: ClassVar[int] = _OUTPUT
    INPUT_OUTPUT: ClassVar[int] = _INPUT_OUTPUT

    def __init__(
        self,
        language: str = "python",
        *,
        library_name: str | Path = "",
        function_name: str = "",
        argtypes: Sequence[tuple[Any, int]] = (),
        command: str = "",
        named_outputs: Sequence[str] = (),
        display_name: str = "",
        **settings: Unpack[ElectronSettings],
    ) -> None:
        self.language = _language(language)
        name = display_name or function_name or self.language
        library = str(library_name)
        code: Callable[..., Any]
        if self.language == "bash":
            types = [kind for kind, attribute in argtypes if attribute != _INPUT]
            script = _script(command, library, function_name)
            code = _Shell(name, script, named_outputs, types, library)
        else:
            _need(self.language, library_name=library, function_name=function_name)
            made = _CFunction if self.language == "C" else _PythonFunction
            code = made(name, library, function_name, _parameters(self.language, argtypes))
        super().__init__(code, **settings)


@overload
def bash(
    function: Callable[..., str], /, *, display_name: str = "", **settings: Unpack[ElectronSettings]
) -> Electron: ...


@overload
def bash(
    function: None = None, /, *, display_name: str = "", **settings: Unpack[ElectronSettings]
) -> Callable[[Callable[..., str]], Electron]: ...


def bash(
    function: Callable[..., str] | None = None,
    /,
    *,
    display_name: str = "",
    **settings: Unpack[ElectronSettings],
) -> Electron | Callable[[Callable[..., str]], Electron]:
    """Mark a function that returns shell commands as a task: the commands are run.

    Args:
        function: Called where the electron runs, with the values of its arguments.
        display_name: The name of its nodes; the function's by default.
        **settings: Those of `ct.electron`.

    Returns:
        An electron. Its value is what the commands print to their standard output, without the
        last line break.

    >>> @bash
    ... def count(path):
    ...     return f"wc -l < {path}"
    >>> count("/dev/null")
    0
    '0'
    """

    def decorate(function: Callable[..., str]) -> Electron:
        check_function("leptons.bash", function)
        return Electron(_Commands(function, display_name), **settings)

    return decorate if function is None else decorate(function)


# -- shell commands ----------------------------------------------------------------------------


class _Commands:
    """Runs the commands that a function returns."""

    def __init__(self, function: Callable[..., str], name: str) -> None:
        functools.update_wrapper(self, function)
        self.__name__ = name or str(getattr(function, "__name__", "bash"))
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        command = self._function(*args, **kwargs)
        if not isinstance(cast("object", command), str):
            reason = f"it returned {shown(command)}, not a command"
            raise LeptonFailed(lepton=self.__name__, reason=reason, advice="Return text.")
        return _run(self.__name__, command, (), {})


class _Shell:
    """Runs commands; arguments are `$1`, `$2`, ..., keyword arguments are variables."""

    def __init__(
        self,
        name: str,
        command: str,
        outputs: Sequence[str],
        types: Sequence[Callable[[str], Any]],
        library: str,
    ) -> None:
        for output in outputs:
            if not str(output).isidentifier():
                raise WrongSetting(
                    setting="named_outputs", got=shown(output), expected="names of variables"
                )
        if types and len(types) != len(outputs):
            got = f"{len(types)} outputs for {len(outputs)} named_outputs"
            raise WrongSetting(setting="argtypes", got=got, expected="one for each named output")
        self.__name__, self.lepton_source = name, command
        self._outputs, self._types, self._library = list(outputs), list(types), library

    def __qcov_key__(self) -> object:
        """What keys of it are made from."""
        content = _content(self._library) if self._library else b""
        return self.lepton_source, self._outputs, self._types, content

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._outputs:
            return _run(self.__name__, self.lepton_source, args, kwargs)
        with tempfile.NamedTemporaryFile() as file:
            says = " ".join(f'"${{{output}?}}"' for output in self._outputs)
            # at its end, however it comes to that
            first = f"trap 'printf \"%s\\0\" {says} > {file.name}' EXIT\n"
            _run(self.__name__, first + self.lepton_source, args, kwargs)
            values = file.read().decode().split("\0")[:-1]
        if len(values) != len(self._outputs):
            raise LeptonFailed(
                lepton=self.__name__,
                reason=f"it has not set {', '.join(self._outputs)}",
                advice="Set every named output, and leave the shell's EXIT trap alone.",
            )
        types = self._types or [str] * len(values)
        typed = tuple(kind(value) for kind, value in zip(types, values, strict=True))
        return typed[0] if len(typed) == 1 else typed


def _run(name: str, command: str, args: Sequence[Any], variables: dict[str, Any]) -> str:
    """Run commands in a shell; what they print is returned, and printed."""
    environment = os.environ | {key: str(value) for key, value in variables.items()}
    shell = shutil.which("bash") or "sh"
    ended = subprocess.run(
        [shell, "-c", command, name, *map(str, args)],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    sys.stdout.write(ended.stdout)
    sys.stderr.write(ended.stderr)
    if ended.returncode != 0:
        code = ended.returncode
        reason = f"exit status {code}" if code > 0 else f"signal {-code}"
        said = ended.stderr.strip()[-_TOLD:]
        raise LeptonFailed(
            lepton=name, reason=reason, advice=f"It said: {said}" if said else "It said nothing."
        )
    return ended.stdout.removesuffix("\n")


def _script(command: str, library: str, function: str) -> str:
    """The commands to run: given as they are, or a function in a script."""
    if command and not library:
        return command
    if command or not (library and function):
        raise WrongSetting(
            setting="a bash lepton",
            got=f"given command={shown(command)}, library_name={library!r}",
            expected="given either command, or library_name and function_name",
        )
    return f'source "{library}"\n{function} "$@"'


# -- Python files ------------------------------------------------------------------------------


class _PythonFunction:
    """A function in a Python file, loaded where it runs."""

    def __init__(self, name: str, library: str, function: str, _parameters: object) -> None:
        self.__name__, self.lepton_source = name, f"{library}: {function}"
        self._library, self._function = library, function

    def __qcov_key__(self) -> object:
        """What keys of it are made from."""
        return self._function, _content(self._library)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
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


# -- C libraries -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """An argument of a C function; ctypes' pointers themselves do not travel."""

    type: str  #: name of a ctypes type
    pointer: bool
    attribute: int

    def ctype(self) -> Any:
        plain: Any = getattr(ctypes, self.type)
        return cast("Any", ctypes.POINTER)(plain) if self.pointer else plain

    def array(self, given: Any) -> np.ndarray[Any, Any]:
        """A copy of what was given, for C to read and to write."""
        return np.array(given, dtype=np.dtype(getattr(ctypes, self.type)), order="C", ndmin=1)


class _CFunction:
    """A function in a shared library."""

    def __init__(
        self, name: str, library: str, function: str, parameters: Sequence[_Parameter]
    ) -> None:
        self.__name__, self.lepton_source = name, f"{library}: {function}"
        self._library, self._function, self._parameters = library, function, parameters

    def __qcov_key__(self) -> object:
        """What keys of it are made from."""
        parameters = [(each.type, each.pointer, each.attribute) for each in self._parameters]
        return self._function, parameters, _content(self._library)

    def __call__(self, *args: Any) -> Any:
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
            else:  # NumPy's numbers are not ctypes'
                passed.append(value.item() if isinstance(value, np.generic) else value)
        function(*passed)
        outputs = tuple(
            _like(given[at], array)
            for at, array in arrays.items()
            if self._parameters[at].attribute != _INPUT
        )
        return outputs[0] if len(outputs) == 1 else outputs or None

    def _load(self) -> Any:
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
        needed = [each for each in self._parameters if each.attribute != _OUTPUT]
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
        return [0 if each.attribute == _OUTPUT else next(left) for each in self._parameters]


def _like(given: Any, array: np.ndarray[Any, Any]) -> Any:
    """What C has written, in the form of what was given."""
    if isinstance(given, np.ndarray):
        return array.reshape(cast("np.ndarray[Any, Any]", given).shape)
    if isinstance(given, (list, tuple)):
        return array.tolist()
    return array.flat[0].item()


def _content(library: str) -> str:
    """The digest of a library: what is kept for one is not taken for another one."""
    return hashlib.sha256(Path(library).read_bytes()).hexdigest()


def _no_library(lepton: str, library: str, reason: str) -> LeptonFailed:
    advice = "Give the whole path, as it is where the electron runs."
    return LeptonFailed(
        lepton=lepton, reason=f"{library} cannot be loaded: {reason}", advice=advice
    )


# -- checks ------------------------------------------------------------------------------------


def _language(language: str) -> str:
    known = _LANGUAGES.get(str(language).lower())
    if known is None:
        expected = f"one of {', '.join(sorted({*_LANGUAGES.values()}))}"
        raise WrongSetting(setting="language", got=shown(language), expected=expected)
    return known


def _need(language: str, **given: str) -> None:
    for name, value in given.items():
        if not value:
            setting = f"{name} of a {language} lepton"
            raise WrongSetting(setting=setting, got="left out", expected="given")


def _parameters(language: str, argtypes: Sequence[tuple[Any, int]]) -> list[_Parameter]:
    return [_parameter(pair) for pair in argtypes] if language == "C" else []


def _parameter(pair: Any) -> _Parameter:
    try:
        kind, attribute = pair
        pointed = getattr(kind, "_type_", None)
        pointer = isinstance(pointed, type)
        name = str(getattr(pointed if pointer else kind, "__name__"))  # noqa: B009
        fits = attribute in (_INPUT, _OUTPUT, _INPUT_OUTPUT) and hasattr(ctypes, name)
        fits = fits and (pointer or attribute == _INPUT)
    except (TypeError, ValueError, AttributeError):
        fits, name, pointer, attribute = False, "", False, _INPUT
    if not fits:
        raise WrongSetting(
            setting="argtypes",
            got=f"{shown(pair)} among them",
            expected="pairs such as (c_int, Lepton.INPUT) or (POINTER(c_double), Lepton.OUTPUT), "
            "of ctypes' simple types; outputs are pointers",
        )
    return _Parameter(type=name, pointer=pointer, attribute=attribute)
