"""What is provided where an electron runs: shell commands, packages, functions before and after it.

Whatever is to run beside an electron is a `Deps`: a function with its arguments. Packages are the
exception: they are not installed beside the electron but make the environment that it runs in.
"""

from __future__ import annotations

import base64
import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

from qcov.classical.requirements import check_packages, lines_of
from qcov.errors import DependencyFailed, WrongSetting
from qcov.transport import TransportableObject

#: The argument through which an electron learns the paths of its files.
FILES = "files"


class Deps:
    """A function to be run where an electron runs.

    Args:
        apply_fn: The function.
        apply_args: Its arguments; electrons too, where a lattice is built.
        apply_kwargs: Its keyword arguments.
        retval_keyword: The argument of the electron that gets what the function returns.
    """

    short_name = "deps"

    def __init__(
        self,
        apply_fn: Callable[..., Any],
        apply_args: Sequence[Any] = (),
        apply_kwargs: Mapping[str, Any] | None = None,
        *,
        retval_keyword: str = "",
    ) -> None:
        self.apply_fn = apply_fn
        self.apply_args = list(apply_args)
        self.apply_kwargs = dict(apply_kwargs or {})
        self.retval_keyword = retval_keyword

    def apply(
        self,
    ) -> tuple[TransportableObject, TransportableObject, TransportableObject, str]:
        """The function, its arguments and its keyword arguments as they travel, and the keyword."""
        parts = (self.apply_fn, self.apply_args, self.apply_kwargs)
        function, args, kwargs = map(TransportableObject, parts)
        return function, args, kwargs, self.retval_keyword

    @property
    def label(self) -> str:
        """What people see of it."""
        return str(getattr(self.apply_fn, "__name__", type(self.apply_fn).__name__))

    def _attributes(self) -> dict[str, Any]:
        """What makes it, as JSON."""
        parts = {"func": self.apply_fn, "args": self.apply_args, "kwargs": self.apply_kwargs}
        return {name: _to_text(part) for name, part in parts.items()} | {
            "retval_keyword": self.retval_keyword
        }

    def _take(self, attributes: Mapping[str, Any]) -> None:
        self.apply_fn = _from_text(attributes["func"])
        self.apply_args = _from_text(attributes["args"])
        self.apply_kwargs = _from_text(attributes["kwargs"])
        self.retval_keyword = attributes["retval_keyword"]

    def to_dict(self) -> dict[str, Any]:
        """It as JSON: `type`, `short_name` and `attributes`."""
        return {
            "type": type(self).__name__,
            "short_name": self.short_name,
            "attributes": self._attributes(),
        }

    def from_dict(self, object_dict: Mapping[str, Any]) -> Self:
        """Take over what a dict of `to_dict` says; returns itself.

        Functions are unpickled: take dicts from where you would take code.

        Raises:
            WrongSetting: the dict describes something else.
        """
        if object_dict.get("type") != type(self).__name__:
            raise WrongSetting(
                setting=f"what {type(self).__name__}.from_dict is given",
                got=shown(object_dict),
                expected=f"a dict that {type(self).__name__}.to_dict has made",
            )
        self._take(object_dict["attributes"])
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label})"


class DepsBash(Deps):
    """Shell commands that run before an electron, one after the other, in its working folder.

    Args:
        commands: One, or several. One that fails fails the electron.

    >>> DepsBash(["mkdir -p data", "date > data/started"]).commands
    ['mkdir -p data', 'date > data/started']
    """

    short_name = "bash"

    def __init__(self, commands: str | Sequence[str] = ()) -> None:
        self.commands = _texts("the commands of DepsBash", commands)
        super().__init__(run_commands, [self.commands])

    @property
    def label(self) -> str:
        """The commands."""
        return "; ".join(self.commands)

    def _attributes(self) -> dict[str, Any]:
        return {"commands": self.commands}

    def _take(self, attributes: Mapping[str, Any]) -> None:
        DepsBash.__init__(self, attributes["commands"])


class DepsCall(Deps):
    """A function that runs before or after an electron, in the same process.

    Args:
        func: The function.
        args: Its arguments; electrons too, where a lattice is built.
        kwargs: Its keyword arguments.
        retval_keyword: The argument of the electron that gets what the function returns. Several
            functions with one keyword make a list.
        override_reserved_retval_keys: Let `retval_keyword` be `"files"`, which file transfers use.

    Raises:
        WrongSetting: `func` cannot be called, or the keyword is none.

    >>> DepsCall(dict, kwargs={"host": "db"}, retval_keyword="settings")
    DepsCall(dict)
    """

    short_name = "call"

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        retval_keyword: str = "",
        override_reserved_retval_keys: bool = False,
    ) -> None:
        if not callable(cast("object", func)):
            raise WrongSetting(
                setting="the function of DepsCall", got=shown(func), expected="a function"
            )
        if retval_keyword and not str(retval_keyword).isidentifier():
            raise WrongSetting(
                setting="retval_keyword",
                got=shown(retval_keyword),
                expected="the name of one of the electron's arguments",
            )
        if retval_keyword == FILES and not override_reserved_retval_keys:
            raise WrongSetting(
                setting="retval_keyword",
                got=repr(FILES),
                expected="another name: file transfers use this one "
                "(override_reserved_retval_keys=True takes it all the same)",
            )
        super().__init__(func, args, kwargs, retval_keyword=retval_keyword)


class DepsPip(Deps):
    """Packages that an electron needs.

    They are installed in an environment of their own, beside the user's, which every electron with
    the same requirements shares; the user's own packages are seen in it unless the requirements
    say otherwise.

    Args:
        packages: Requirements as pip takes them, one or several.
        reqs_path: A requirements file, in the place of `packages`; it is read now.

    Raises:
        WrongSetting: the requirements are no text, or the file cannot be read.

    >>> DepsPip(["numpy>=2", "tqdm"]).packages
    ['numpy>=2', 'tqdm']
    """

    short_name = "pip"

    def __init__(self, packages: str | Sequence[str] = (), reqs_path: str | Path = "") -> None:
        self.reqs_path = str(reqs_path).strip()
        given = _texts("the packages of DepsPip", packages)
        self.packages = lines_of(Path(self.reqs_path)) if self.reqs_path else given
        super().__init__(check_packages, [self.packages])

    @property
    def label(self) -> str:
        """The packages."""
        return ", ".join(self.packages)

    def _attributes(self) -> dict[str, Any]:
        return {"packages": self.packages, "reqs_path": self.reqs_path}

    def _take(self, attributes: Mapping[str, Any]) -> None:
        DepsPip.__init__(self, attributes["packages"])
        self.reqs_path = attributes["reqs_path"]


class DepsModule(Deps):
    """A module that travels whole with an electron: workers need not be able to import it.

    Args:
        module: The module, or its name.

    Raises:
        WrongSetting: it is no module, or none that can be imported.

    >>> DepsModule("json.tool").label
    'json.tool'
    """

    short_name = "module"

    def __init__(self, module: str | ModuleType) -> None:
        self.module = _imported(module)
        super().__init__(importlib.import_module, [self.module.__name__])

    @property
    def label(self) -> str:
        """The module's name."""
        return self.module.__name__

    def _attributes(self) -> dict[str, Any]:
        return {"module": self.label}

    def _take(self, attributes: Mapping[str, Any]) -> None:
        DepsModule.__init__(self, attributes["module"])

    def __reduce__(self) -> tuple[Any, ...]:
        return _travelled, (self.label,)


def _travelled(name: str) -> DepsModule:
    """Of a module that cannot be imported where it has come to, the name is all that is left."""
    try:
        return DepsModule(name)
    except WrongSetting:
        return DepsModule(ModuleType(name))


def _imported(module: object) -> ModuleType:
    if isinstance(module, ModuleType):
        return module
    try:
        if isinstance(module, str):
            return importlib.import_module(module)
        reason = ""
    except ImportError as error:
        reason = f" ({error})"
    raise WrongSetting(
        setting="deps_module",
        got=f"{shown(module)}{reason}",
        expected="a module, the name of one that can be imported, or a list of them",
    )


def run_commands(commands: Sequence[str]) -> None:
    """Run shell commands one after the other. Raises `DependencyFailed` for one that fails."""
    shell = shutil.which("bash") or "sh"
    for command in commands:
        sys.stdout.flush()
        code = subprocess.run([shell, "-c", command], check=False).returncode
        if code != 0:
            raise DependencyFailed(
                what=f"the command {command!r} failed",
                reason=f"exit status {code}" if code > 0 else f"signal {-code}",
                advice="What it printed is in the electron's stdout and stderr.",
            )


def shown(value: object) -> str:
    """A value in a message: short."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _texts(what: str, value: object) -> list[str]:
    expected = "text, or several texts"
    if not isinstance(value, (str, Iterable)) or isinstance(value, (bytes, Mapping)):
        raise WrongSetting(setting=what, got=shown(cast("object", value)), expected=expected)
    texts = [value] if isinstance(value, str) else list(cast("Iterable[object]", value))
    for text in texts:
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise WrongSetting(setting=what, got=shown(text), expected="text, and not empty")
    return cast("list[str]", texts)


def _to_text(value: object) -> str:
    return base64.b64encode(TransportableObject(value).serialize()).decode()


def _from_text(text: str) -> Any:
    return TransportableObject.deserialize(base64.b64decode(text)).get_deserialized()
