"""The engine's log: lines of JSON in a file that only its owner reads, and that never grows large.

A line has `time` (unix seconds), `level`, `logger` and `message`; `dispatch`, `node` and `error` (a
traceback) where there are such. What looks like a secret is left out before it is written.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO, cast

NAME = "qcov.log"
LEVELS = ("debug", "info", "warning", "error", "critical")
_LARGEST = 5_000_000  # bytes of a file
_KEPT = 5  # older files
_BLOCK = 1 << 16
_LONGEST = 32_768  # characters of a message or an error

_SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 ***"),
    (re.compile(r"(://[^\s/:@]*):[^\s/@]+@"), r"\1:***@"),
    (
        re.compile(
            # Bounded: what users name things may be long, and made to be slow.
            r"(?i)((?:code|token|password|passwd|secret|api_?key|access_?key)[\w-]{0,40})"
            r"(['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]{4,}"
        ),
        r"\1\2***",
    ),
)

Line = Mapping[str, Any]


def without_secrets(text: str) -> str:
    """The text without what looks like a secret.

    >>> without_secrets("GET /login?code=Zm9vYmFy from postgresql://me:pass@host/db")
    'GET /login?code=*** from postgresql://me:***@host/db'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


# -- writing -----------------------------------------------------------------------------------


def as_line(record: logging.LogRecord) -> dict[str, Any]:
    """A record of `logging` as a line; `extra={"dispatch": ..., "node": ...}` says whose it is."""
    line: dict[str, Any] = {
        "time": record.created,
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _told(record.getMessage()),
    }
    for name in ("dispatch", "node"):
        if getattr(record, name, None) is not None:
            line[name] = getattr(record, name)
    if record.exc_info:
        line["error"] = _told(logging.Formatter().formatException(record.exc_info))
    return line


def _told(text: str) -> str:
    return without_secrets(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(as_line(record), ensure_ascii=False, default=str)


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, "a", encoding="utf-8", errors="replace", opener=private)


def write_to(folder: Path, level: str) -> None:
    """Let what this process logs, from `level` on, go to the file in `folder` too."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _PrivateFile(folder / NAME, maxBytes=_LARGEST, backupCount=_KEPT)
    file.setLevel(level.upper())
    file.setFormatter(_Lines())
    root = logging.getLogger()
    root.addHandler(file)
    root.setLevel(min(file.level, root.level))


# -- reading -----------------------------------------------------------------------------------


def last_lines(
    folder: Path, count: int, wanted: Callable[[Line], bool], *, within: int | None = None
) -> list[Line]:
    """The last lines that are wanted, oldest first.

    Args:
        folder: Where the file and the older ones are.
        count: How many at most.
        wanted: Says which.
        within: How many bytes are looked through at most.
    """
    found: list[Line] = []
    left = within
    for path in (folder / NAME, *(folder / f"{NAME}.{age}" for age in range(1, _KEPT + 1))):
        for text in _backwards(path, left):
            if (line := read_line(text)) and wanted(line):
                found.append(line)
                if len(found) == count:
                    return found[::-1]
        if left is not None:
            left -= path.stat().st_size if path.exists() else 0
            if left <= 0:
                break
    return found[::-1]


def follow(folder: Path, pause: float = 0.2) -> Iterator[Line]:
    """The lines that are written from this call on, when they are; the file may be turned over."""
    path = folder / NAME
    file = _opened(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    return _following(path, file, pause)


def _following(path: Path, file: TextIO | None, pause: float) -> Iterator[Line]:
    rest = ""
    while True:
        text = file.read() if file is not None else ""
        if text:
            *whole, rest = (rest + text).split("\n")
            yield from filter(None, map(read_line, whole))
        elif file is None or _turned_over(file, path):
            if file is not None:
                yield from filter(None, map(read_line, (rest + file.read()).split("\n")))
                file.close()
            file, rest = _opened(path), ""
            if file is None:
                time.sleep(pause)
        else:
            time.sleep(pause)


def chosen(*, level: str = "debug", dispatch: str = "", text: str = "") -> Callable[[Line], bool]:
    """Says whether a line is at least of a level, about a dispatch, and has a text in it.

    Of the dispatch's id the beginning is enough.

    >>> wanted = chosen(level="warning", text="DISK")
    >>> wanted({"level": "error", "message": "the disk is full"})
    True
    """
    levels, text = LEVELS[LEVELS.index(level) :], text.lower()

    def wanted(line: Line) -> bool:
        if line["level"] not in levels:
            return False
        if dispatch and not str(line.get("dispatch", "")).startswith(dispatch):
            return False
        said = (line["message"], line.get("error", ""), line.get("logger", ""))
        return not text or any(text in str(part).lower() for part in said)

    return wanted


def read_line(text: str) -> Line | None:
    """A line of the file; what is none stands as its message. None for an empty one."""
    if not text.strip():
        return None
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not {"time", "level", "message"} <= line.keys():
        return {"time": None, "level": "error", "logger": "", "message": text}
    return cast("Line", line)


def _opened(path: Path) -> TextIO | None:
    try:
        return open(path, encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _turned_over(file: TextIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return False


def _backwards(path: Path, within: int | None) -> Iterator[str]:
    """The lines of a file, the last one first."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        at = size = file.seek(0, os.SEEK_END)
        rest = b""
        while at > 0 and (within is None or size - at < within):
            start = max(0, at - _BLOCK)
            file.seek(start)
            rest, *whole = (file.read(at - start) + rest).split(b"\n")
            yield from _texts(reversed(whole))
            at = start
        if at == 0:
            yield from _texts([rest])


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in lines)
