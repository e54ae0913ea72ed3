"""Settings: defaults, then the TOML file, then the environment; arguments come last, in each call.

The file is `$QCOV_CONFIG_DIR/qcov.conf` or `~/.config/qcov/qcov.conf`; it need not exist, and
only `set_config` writes it. A variable such as `QCOV_DISPATCHER_PORT` stands above the file's
`port` in `[dispatcher]`. A change of the file or of a variable is seen by the next `get_config`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qcov.errors import ConfigError, suggest
from qcov.settings import (
    CLOSED_SECTIONS,
    OPEN_SECTIONS,
    SETTINGS,
    config_file,
    data_dir,
    is_placeholder,
)

__all__ = ["check_config", "config_file", "data_dir", "get_config", "reload_config", "set_config"]

_ENVIRONMENT = "QCOV_"


def _variable(key: str) -> str:
    return _ENVIRONMENT + key.replace(".", "_").upper()


_VARIABLES = {_variable(key): key for key in SETTINGS}
#: How variables of closed sections begin.
_SECTIONS = tuple(_variable(f"{section}.") for section in sorted(CLOSED_SECTIONS))


def get_config(entries: str | Sequence[str] | None = None) -> Any:
    """Read settings.

    Args:
        entries: a key such as `"dispatcher.port"`, a section, a list of keys, or nothing for all.

    Returns:
        The value of a key, a dictionary for a section or for all, and for several keys a
        dictionary from key to value.

    Raises:
        ConfigError: for a key that does not exist, or a file that cannot be understood.

    >>> get_config("dispatcher.port")
    48008
    """
    loaded = _load()
    if not entries:
        return _copy(loaded.values)
    if not isinstance(entries, str) and len(entries) > 1:
        return {entry: loaded.get(entry) for entry in entries}
    return loaded.get(entries if isinstance(entries, str) else entries[0])


def check_config() -> None:
    """Raise `ConfigError` for a file or a variable that is wrong, needed or not.

    Without it a mistake would go unnoticed for as long as an engine runs that had none.

    >>> check_config()
    """
    _load()


def config_errors() -> list[ConfigError]:
    """Everything that is wrong with the file and the variables, not only what is met first.

    >>> config_errors()
    []
    """
    found: list[ConfigError] = []
    path = config_file()
    try:
        text = _read(path)
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [_broken(error, path.read_text(encoding="utf-8"), str(path))]
    except ConfigError as error:
        return [error]
    for key, value in _leaves(tables):
        with _collecting(found):
            _converted(key, value, source=str(path), line=_line_of(key, text))
    for name in filter(lambda name: name.startswith(_ENVIRONMENT), sorted(os.environ)):
        with _collecting(found):
            _from_environment({name: os.environ[name]})
    return found


@contextlib.contextmanager
def _collecting(found: list[ConfigError]) -> Generator[None, None, None]:
    try:
        yield
    except ConfigError as error:
        found.append(error)


def set_config(new_config: str | Mapping[str, Any], new_value: Any = None) -> None:
    """Write settings to the file; comments and everything else in it stay.

    Args:
        new_config: a key, with its value in `new_value`; or a dictionary from key to value.
        new_value: the value, where `new_config` is one key.

    Raises:
        ConfigError: for a wrong key or value, or a broken file; the file stays as it was.

    >>> set_config("engine.workers", 2)  # doctest: +SKIP
    >>> set_config({"dispatcher.port": 48009, "sdk.log_level": "info"})  # doctest: +SKIP
    """
    from qcov.settings_file import write_settings  # tomlkit is needed by writers only

    changes = {new_config: new_value} if isinstance(new_config, str) else dict(new_config)
    flat = dict(_flatten(changes))
    for key, value in flat.items():
        _check_new(key, value)
    write_settings(config_file(), flat, check=parse_settings)


def reload_config() -> None:
    """Forget what was read, so that the next `get_config` reads the file again."""
    global _loaded
    _loaded = None


# -- loading -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """All settings, and what they were read from."""

    signature: tuple[object, ...]
    source: str
    text: str
    values: dict[str, Any]

    def get(self, key: str) -> Any:
        value: Any = self.values
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ConfigError(key=key, reason=_unknown(key, self.values), source=self.source)
            value = cast("dict[str, Any]", value)[part]
        self._refuse_placeholders(key, value)
        return _copy(value)

    def _refuse_placeholders(self, key: str, value: object) -> None:
        for name, leaf in _leaves({key: value}):
            if is_placeholder(leaf):
                reason = f"is still the placeholder {leaf!r}: put your own value there"
                line = _line_of(name, self.text)
                raise ConfigError(key=name, reason=reason, source=self.source, line=line)


_loaded: _Loaded | None = None


def _load() -> _Loaded:
    global _loaded
    path = config_file()
    # by name: each value that is looked at is decoded anew
    environment = {name: os.environ[name] for name in os.environ if name.startswith(_ENVIRONMENT)}
    signature = (str(path), _stamp(path), tuple(sorted(environment.items())))
    if _loaded is None or _loaded.signature != signature:
        text = _read(path)
        values = _defaults()
        _merge(values, parse_settings(text, str(path)))
        _merge(values, _from_environment(environment))
        _loaded = _Loaded(signature=signature, source=str(path), text=text, values=values)
    return _loaded


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(key=path.name, reason=f"cannot be read: {error}", source=str(path))


def _defaults() -> dict[str, Any]:
    values: dict[str, Any] = {section: {} for section in OPEN_SECTIONS}
    for key, setting in SETTINGS.items():
        _put(values, key, setting.make_default())
    return values


def parse_settings(text: str, source: str) -> dict[str, Any]:
    """The settings of a file, nested and converted.

    Raises:
        ConfigError: naming the line, for broken TOML, an unknown key or a wrong value.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _broken(error, text, source) from error
    values: dict[str, Any] = {}
    for key, value in _leaves(tables):
        line = _line_of(key, text)
        _put(values, key, _converted(key, value, source=source, line=line))
    return values


def _broken(error: tomllib.TOMLDecodeError, text: str, source: str) -> ConfigError:
    found = re.search(r"\(at line (\d+), column \d+\)|\(at end of document\)", str(error))
    line = int(found[1]) if found and found[1] else text.count("\n") + 1
    reason = f"is not valid TOML: {str(error).partition(' (at ')[0]}"
    return ConfigError(key=Path(source).name, reason=reason, source=source, line=line)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in environment.items():
        if name in _VARIABLES:
            key, source = _VARIABLES[name], f"environment variable {name}"
            _put(values, key, _converted(key, value, source=source))
        elif section := next(filter(name.startswith, _SECTIONS), None):
            known = (each for each in _VARIABLES if each.startswith(section))
            reason = f"is not a known setting. {suggest(name, known)}"
            raise ConfigError(key=name, reason=reason, source="environment variables")
    return values


def _converted(key: str, value: Any, *, source: str, line: int | None = None) -> Any:
    setting = SETTINGS.get(key)
    if setting is None:
        if key.partition(".")[0] in OPEN_SECTIONS and "." in key:
            return value
        raise ConfigError(key=key, reason=_unknown(key, _defaults()), source=source, line=line)
    # A blank in an executor's section harms only who reads it.
    if is_placeholder(value) and key.partition(".")[0] in OPEN_SECTIONS:
        return value
    try:
        return setting.read(value)
    except ValueError as error:
        raise ConfigError(key=key, reason=str(error), source=source, line=line) from error


def _check_new(key: str, value: object) -> None:
    if value is None:
        raise ConfigError(key=key, reason="was given no value", source="set_config")
    _converted(key, value, source="set_config")


def _unknown(key: str, values: Mapping[str, Any]) -> str:
    section, _, name = key.partition(".")
    if not name and (section in CLOSED_SECTIONS or section in OPEN_SECTIONS):
        return f"is a section, it has no value of its own. Write [{section}] and its settings below"
    if section not in CLOSED_SECTIONS and section not in OPEN_SECTIONS:
        return f"is in no known section. {suggest(section, [*CLOSED_SECTIONS, *OPEN_SECTIONS])}"
    *parents, name = key.split(".")
    for part in parents:
        below: object = values.get(part)
        if not isinstance(below, dict) or not below:
            return "is not set, and has no default"
        values = cast("dict[str, Any]", below)
    return f"is not a known setting. {suggest(name, values)}"


# -- nested dictionaries -----------------------------------------------------------------------


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tables.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict) and value:
            yield from _leaves(cast("dict[str, Any]", value), key)
        elif not (isinstance(value, dict) and _is_section(key)):
            yield key, str(value) if isinstance(value, Path) else value


def _is_section(key: str) -> bool:
    return key in CLOSED_SECTIONS or key in OPEN_SECTIONS or key.rpartition(".")[0] in OPEN_SECTIONS


def _flatten(changes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in _leaves(changes):
        if not all(key.split(".")):
            raise ConfigError(key=key, reason="is not a key such as 'a.b'", source="set_config")
        yield key, value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for part in parents:
        values = values.setdefault(part, {})
    values[name] = value


def _merge(values: dict[str, Any], above: Mapping[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _merge(values[name], cast("dict[str, Any]", value))
        else:
            values[name] = value


def _copy(value: Any) -> Any:
    """A copy that callers may change."""
    if isinstance(value, dict):
        return {name: _copy(below) for name, below in cast("dict[str, Any]", value).items()}
    return [_copy(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def _line_of(key: str, text: str) -> int | None:
    """The line where a key is set, by its section's header and its name."""
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            section = _plain(header[1])
            if key == section:
                return number
        elif assignment := re.match(r"\s*([\w\"'.\- ]+?)\s*=", line):
            name = f"{section}.{_plain(assignment[1])}".lstrip(".")
            if key == name or key.startswith(f"{name}."):
                return number
    return None


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


# -- where settings come from ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A setting, and who has said so."""

    key: str
    value: Any
    source: str  #: "default", "file" or "environment"
    line: int | None = None  #: of the file
    variable: str = ""  #: of the environment


def told_config() -> list[Told]:
    """Every setting with its value and where that comes from, by section.

    >>> {told.source for told in told_config()} <= {"default", "file", "environment"}
    True
    """
    loaded = _load()
    in_file = dict(_leaves(parse_settings(loaded.text, loaded.source)))
    told: list[Told] = []
    for key, value in _leaves(loaded.values):
        name = _variable(key)
        if key in SETTINGS and name in os.environ:
            told.append(Told(key=key, value=value, source="environment", variable=name))
        elif key in in_file:
            line = _line_of(key, loaded.text)
            told.append(Told(key=key, value=value, source="file", line=line))
        else:
            told.append(Told(key=key, value=value, source="default"))
    return told
