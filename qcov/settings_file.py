"""Writing the settings file: what the user wrote in it stays, and it is never half written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Table

from qcov import private_file
from qcov.errors import ConfigError


def write_settings(
    path: Path, changes: Mapping[str, Any], *, check: Callable[[str, str], object]
) -> None:
    """Change keys of the settings file under a lock, atomically.

    Args:
        path: the file; a link is followed, so that it stays a link.
        changes: dotted keys and their new values.
        check: called with the text and its source, before and after the change; raises to refuse.

    Raises:
        ConfigError: the file was broken before, cannot be written, or a value is not TOML's.
    """
    path = path.resolve()
    try:
        with _locked(path):
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            check(text, str(path))
            changed = _changed(text, changes, str(path))
            check(changed, str(path))
            private_file.write(path, changed.encode())
    except OSError as error:
        raise ConfigError(
            key=path.name, reason=f"cannot be written: {error.strerror}", source=str(path)
        ) from error


def _changed(text: str, changes: Mapping[str, Any], source: str) -> str:
    document = tomlkit.parse(text)
    for key, value in changes.items():
        *parents, name = key.split(".")
        try:
            _table(document, parents)[name] = value
        except (TOMLKitError, TypeError, ValueError) as error:
            reason = f"cannot hold {value!r}: {error}"
            raise ConfigError(key=key, reason=reason, source=source) from error
    return tomlkit.dumps(document)  # pyright: ignore[reportUnknownMemberType]  # untyped there


def _table(document: Container, parents: list[str]) -> Container | Table | InlineTable:
    table: Container | Table | InlineTable = document
    for depth, part in enumerate(parents, start=1):
        if part not in table:
            # Only the last needs a header of its own: [executors.ssh], without [executors].
            table[part] = tomlkit.table(is_super_table=depth < len(parents))
        below = table[part]
        if not isinstance(below, Container | Table | InlineTable):
            raise TypeError(f"{part!r} is a value in the file, not a section")
        table = below
    return table


@contextmanager
def _locked(path: Path) -> Generator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
