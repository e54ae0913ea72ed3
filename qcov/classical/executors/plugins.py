"""Executors of electrons that others provide: as installed packages, and as files in a folder.

A package offers a module under the entry point group `GROUP`, by the executor's short name; a file
lies in the folder of the setting `sdk.executor_dir` and has the short name as its own. In either,
`EXECUTOR_PLUGIN_NAME` (or `executor_plugin_name`) names the class, and `_EXECUTOR_PLUGIN_DEFAULTS`
are settings that are written to the configuration file where it does not have them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from qcov import config
from qcov.classical.executors.base import AnyExecutor
from qcov.errors import ConfigError, InvalidExecutor
from qcov.transport import pickle_by_value

GROUP = "qcov.executor_plugins"

#: What was loaded, by where it came from: a class, or why there is none.
_loaded: dict[tuple[object, ...], type[AnyExecutor] | InvalidExecutor] = {}


def find_plugin(name: str) -> type[AnyExecutor] | None:
    """The class of the plugin with this short name; None if there is none.

    Raises:
        InvalidExecutor: there is one, and it is broken.
    """
    source = _sources().get(name)
    if source is None:
        return None
    found = _load(name, *source)
    if isinstance(found, InvalidExecutor):
        raise found
    return found


def plugin_classes() -> dict[str, type[AnyExecutor]]:
    """All plugins that work, by short name; each broken one is warned of, by name."""
    found = {name: _load(name, *source) for name, source in _sources().items()}
    return {name: kind for name, kind in found.items() if isinstance(kind, type)}


def plugin_names() -> list[str]:
    """The short names of all plugins, whether they work or not; nothing is imported."""
    return sorted(_sources())


_Loader = Callable[[], ModuleType]


def _sources() -> dict[str, tuple[tuple[object, ...], _Loader]]:
    """Where each plugin is, and how its module is loaded."""
    found: dict[str, tuple[tuple[object, ...], _Loader]] = {}
    folder = Path(config.get_config("sdk.executor_dir"))
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else ():
        if not path.stem.startswith("_"):
            stamp = path.stat().st_mtime_ns
            found[path.stem] = ((str(path), stamp), lambda path=path: _module_at(path))
    for point in importlib.metadata.entry_points(group=GROUP):
        found[point.name] = ((point.value,), cast("_Loader", point.load))
    return found


def _module_at(path: Path) -> ModuleType:
    name = f"qcov_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    pickle_by_value(module)  # workers need not find the folder
    return module


def _load(
    name: str, source: tuple[object, ...], load: _Loader
) -> type[AnyExecutor] | InvalidExecutor:
    if source not in _loaded:
        try:
            _loaded[source] = kind = _class_in(name, load())
            kind.short_name = kind.short_name or name
        except Exception as error:  # noqa: BLE001  # somebody else's module: it may raise anything
            reason = f"{type(error).__name__}: {error}"
            _loaded[source] = broken = InvalidExecutor(
                got=f"the plugin {name!r} ({source[0]})", advice=f"It cannot be loaded: {reason}"
            )
            warnings.warn(str(broken), stacklevel=2)
    return _loaded[source]


def _class_in(name: str, module: Any) -> type[AnyExecutor]:
    """The class that a plugin's module names. An entry point may name the class itself."""
    if isinstance(module, type):
        return _checked(module)
    for attribute in ("EXECUTOR_PLUGIN_NAME", "executor_plugin_name"):
        if hasattr(module, attribute):
            kind = _checked(getattr(module, getattr(module, attribute)))
            _write_defaults(name, getattr(module, "_EXECUTOR_PLUGIN_DEFAULTS", {}))
            return kind
    raise AttributeError("EXECUTOR_PLUGIN_NAME does not say which class is the executor")


def _checked(kind: Any) -> type[AnyExecutor]:
    if not (isinstance(kind, type) and issubclass(kind, AnyExecutor)):
        raise TypeError(f"{kind!r} is not derived from BaseExecutor or AsyncBaseExecutor")
    return kind


def _write_defaults(name: str, defaults: Any) -> None:
    """Write a plugin's defaults to the configuration file, but for what stands there already."""
    section = config.get_config("executors").get(name, {})
    missing = {
        f"executors.{name}.{key}": value
        for key, value in dict(defaults).items()
        if key not in section and value is not None
    }
    try:
        if missing:
            config.set_config(missing)
    except (ConfigError, OSError) as error:
        warnings.warn(f"the defaults of executor {name!r} were not kept: {error}", stacklevel=2)
