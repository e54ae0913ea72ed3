"""Shell commands as functions: what a lepton in bash runs."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, cast

from qcov.classical.deps import shown
from qcov.classical.library_code import content_of, note_reading
from qcov.errors import LeptonFailed, WrongSetting

_TOLD = 2000  # characters of what a command said, in an error


class Commands:
    """Runs the commands that a function returns."""

    def __init__(self, function: Callable[..., str], name: str) -> None:
        functools.update_wrapper(self, function)
        self.__name__ = name or str(getattr(function, "__name__", "bash"))
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        """What the commands print."""
        command = self._function(*args, **kwargs)
        if not isinstance(cast("object", command), str):
            reason = f"it returned {shown(command)}, not a command"
            raise LeptonFailed(lepton=self.__name__, reason=reason, advice="Return text.")
        return _run(self.__name__, command, (), {})


class Shell:
    """Runs commands; arguments are `$1`, `$2`, ..., keyword arguments are variables."""

    def __init__(
        self,
        name: str,
        command: str,
        outputs: Sequence[str],
        types: Sequence[Callable[[str], Any]],
        library: str,
    ) -> None:
        for output in [outputs] if isinstance(outputs, str) else outputs:
            if isinstance(outputs, str) or not str(output).isidentifier():
                raise WrongSetting(
                    setting="named_outputs",
                    got=shown(output),
                    expected="names of variables, in a list",
                )
        if types and len(types) != len(outputs):
            got = f"{len(types)} outputs for {len(outputs)} named_outputs"
            raise WrongSetting(setting="argtypes", got=got, expected="one for each named output")
        self.__name__, self.lepton_source = name, command
        self._outputs, self._types, self._library = list(outputs), list(types), library

    def __qcov_key__(self) -> object:
        """What keys of it are made from."""
        content = content_of(self._library) if self._library else b""
        return self.lepton_source, self._outputs, self._types, content

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The named outputs, or else what the commands print."""
        if self._library:
            note_reading(self._library)
        if not self._outputs:
            return _run(self.__name__, self.lepton_source, args, kwargs)
        with tempfile.NamedTemporaryFile() as file:
            says = " ".join(f'"${{{output}?}}"' for output in self._outputs)
            # at its end, however it comes to that
            tell = f'printf "%s\\0" {says} > {shlex.quote(file.name)}'
            first = f"trap {shlex.quote(tell)} EXIT\n"
            _run(self.__name__, first + self.lepton_source, args, kwargs)
            values = file.read().decode().split("\0")[:-1]
        if len(values) != len(self._outputs):
            raise LeptonFailed(
                lepton=self.__name__,
                reason=f"it has not set all of {', '.join(self._outputs)}",
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


def commands_of(command: str, library: str, function: str) -> str:
    """The commands to run: given as they are, or a function in a script."""
    if not isinstance(cast("object", command), str):
        raise WrongSetting(setting="command", got=shown(command), expected="text")
    if command and not library:
        return command
    if command or not (library and function):
        raise WrongSetting(
            setting="a bash lepton",
            got=f"given command={shown(command)}, library_name={library!r}",
            expected="given either command, or library_name and function_name",
        )
    return f'source {shlex.quote(library)}\n{shlex.quote(function)} "$@"'
