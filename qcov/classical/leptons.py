"""Leptons: electrons whose code is a shell command, a C library or a Python file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack, overload

from qcov.classical.checks import check_function
from qcov.classical.deps import shown
from qcov.classical.electron import Electron
from qcov.classical.library_code import (
    INPUT,
    INPUT_OUTPUT,
    OUTPUT,
    CFunction,
    PythonFunction,
    parameter,
)
from qcov.classical.metadata import ElectronSettings
from qcov.classical.shell_code import Commands, Shell, commands_of
from qcov.errors import WrongSetting

__all__ = ["Lepton", "bash"]

_LANGUAGES = {"python": "python", "c": "C", "bash": "bash", "shell": "bash"}


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

    INPUT: ClassVar[int] = INPUT
    OUTPUT: ClassVar[int] = OUTPUT
    INPUT_OUTPUT: ClassVar[int] = INPUT_OUTPUT

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
            types = [kind for kind, attribute in argtypes if attribute != INPUT]
            commands = commands_of(command, library, function_name)
            code = Shell(name, commands, named_outputs, types, library)
        else:
            _need(self.language, library_name=library, function_name=function_name)
            code = PythonFunction(name, library, function_name)
            if self.language == "C":
                parameters = [parameter(pair) for pair in argtypes]
                code = CFunction(name, library, function_name, parameters)
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
        return Electron(Commands(function, display_name), **settings)

    return decorate if function is None else decorate(function)


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
