"""What was measured, as JSON lines: appended as it is measured, readable after any crash.

The schema is told in docs/reference/benchmark_files.md; `SCHEMA` counts its versions.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from typing import Any, Self

from qcov.errors import CannotMeasure

SCHEMA = 1

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file has, and which of its lines are damaged."""

    lines: tuple[Line, ...] = ()
    damaged: tuple[int, ...] = ()  #: numbers of lines, the first is 1

    def of_kind(self, kind: str) -> list[Line]:
        """The lines of one kind."""
        return [line for line in self.lines if line.get("kind") == kind]


def read(path: Path) -> Content:
    """What a file has. Lines that are damaged, or half written, are counted and left out.

    Raises:
        CannotMeasure: The file cannot be read, or a newer qcov wrote it.
    """
    try:
        return _parse(path.read_bytes(), str(path))
    except OSError as error:
        reason = str(error.strerror)
        raise CannotMeasure(what=f"the file {path}", reason=reason, advice=_OTHER) from error


_OTHER = "Give another path."


def _parse(data: bytes, source: str) -> Content:
    lines: list[Line] = []
    damaged: list[int] = []
    for number, text in enumerate(data.split(b"\n"), 1):
        if not text.strip():
            continue
        line = _line(text)
        if line is None:
            damaged.append(number)
        else:
            _check_version(line, source)
            lines.append(line)
    return Content(lines=tuple(lines), damaged=tuple(damaged))


def _line(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    known = isinstance(line, dict) and isinstance(line.get("schema"), int)
    return line if known and _complete(line) else None


def _complete(line: Line) -> bool:
    """Whether it has what is read of such a line without looking."""
    needs = _NEEDS.get(str(line.get("kind")), ())
    return all(isinstance(line.get(name), kind) for name, kind in needs)


_ASKED = (("subject", str), ("case", str), ("measure", str), ("cell", str))
_NEEDS: Mapping[str, tuple[tuple[str, Any], ...]] = {
    "run": (("machine", dict), ("versions", dict)),
    "sample": (*_ASKED, ("turn", int), ("seconds", int | float), ("circuits", int)),
    "failure": (*_ASKED, ("error", str)),
    "skipped": (("subject", str), ("reason", str)),
    "reserved": (("usd", int | float),),
    "spent": (("usd", int | float),),
}


def _check_version(line: Line, source: str) -> None:
    if line["schema"] > SCHEMA:
        raise CannotMeasure(
            what=f"the file {source}",
            reason=f"it has schema {line['schema']}, this qcov knows {SCHEMA}",
            advice="Upgrade qcov.",
        )


@dataclass(slots=True)
class Journal:
    """A file that lines are appended to; or only memory, where there is no file."""

    content: Content
    _file: BufferedRandom | None = None
    _added: list[Line] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """A file with what stands in it already; it is made if it is not there.

        Raises:
            CannotMeasure: It cannot be written or read, is no such file, or another program
                writes to it.
        """
        if path is None:
            return cls(Content())
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), "a+b")
        except OSError as error:
            raise _unwritable(path, str(error.strerror)) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(_taken_up(file, str(path)), file)
        except BlockingIOError as error:
            file.close()
            raise _unwritable(path, "another program writes to it") from error
        except BaseException:
            file.close()
            raise

    def append(self, kind: str, **values: Any) -> Line:
        """Write one line, whole, before anything else is measured.

        Raises:
            CannotMeasure: The disk is full, say.
            ValueError: A number is none.
        """
        line = {"schema": SCHEMA, "kind": kind, **values}
        text = json.dumps(line, default=str, allow_nan=False)
        if self._file is not None:
            try:
                self._file.write(text.encode() + b"\n")
                self._file.flush()
            except OSError as error:
                raise _unwritable(Path(str(self._file.name)), str(error.strerror)) from error
        self._added.append(line)
        return line

    def __iter__(self) -> Iterator[Line]:
        yield from self.content.lines
        yield from self._added

    def close(self) -> None:
        """Let others write."""
        if self._file is not None:
            self._file.close()


def _taken_up(file: BufferedRandom, source: str) -> Content:
    file.seek(0)
    data = file.read()
    content = _parse(data, source)
    if content.damaged and not content.lines:
        raise _unwritable(Path(source), "it has something else than results, which is left alone")
    if data and not data.endswith(b"\n"):
        file.write(b"\n")  # what a killed program left half written stays a line of its own
        file.flush()
    return content


def _unwritable(path: Path, reason: str) -> CannotMeasure:
    return CannotMeasure(what=f"the file {path}", reason=reason, advice=_OTHER)
