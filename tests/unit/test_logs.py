from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from qcov import logs


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[logging.Logger, Path]]:
    """A logger that writes to a file in a folder."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.write_to(tmp_path / "logs", "info")
    yield logging.getLogger("qcov.test"), tmp_path / "logs"
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def file_of(logger: logging.Logger) -> RotatingFileHandler:
    return next(one for one in logger.handlers if isinstance(one, RotatingFileHandler))


def test_lines_say_when_how_grave_and_about_what(log: tuple[logging.Logger, Path]) -> None:
    logger, folder = log
    logger.debug("too small")
    logger.warning("the %s", "message", extra={"dispatch": "abc", "node": 3})
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("it failed")

    first, second = map(json.loads, (folder / logs.NAME).read_text().splitlines())
    told = {"level": "warning", "logger": "qcov.test", "message": "the message"}
    assert first == {**told, "dispatch": "abc", "node": 3, "time": first["time"]}
    assert second["error"].endswith("ValueError: no")


def test_only_the_owner_reads_the_files(
    log: tuple[logging.Logger, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, folder = log
    monkeypatch.setattr(file_of(logging.getLogger()), "maxBytes", 2000)
    for number in range(100):
        logger.info("line %d %s", number, "x" * 100)

    files = sorted(folder.iterdir())
    assert len(files) == 6
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [line["message"].split()[1] for line in logs.last_lines(folder, 30, logs.chosen())] == [
        str(number) for number in range(70, 100)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "GET /login?code=hunter2hunter2",
        "postgresql://me:hunter2hunter2@host/db",
        "{'token': 'hunter2hunter2'}",
        "AWS_SECRET_ACCESS_KEY=hunter2hunter2",
        'password = "hunter2hunter2"',
    ],
)
def test_secrets_are_not_written(log: tuple[logging.Logger, Path], text: str) -> None:
    logger, folder = log
    logger.error(text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logger.exception("again")

    assert "hunter2" not in (folder / logs.NAME).read_text()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["a", "b", "c"]),
        ({"level": "warning"}, ["b", "c"]),
        ({"dispatch": "12"}, ["a"]),
        ({"text": "B"}, ["b"]),
    ],
)
def test_lines_are_chosen(tmp_path: Path, wanted: dict[str, str], found: list[str]) -> None:
    lines = [
        {"time": 1.0, "level": "info", "message": "a", "dispatch": "123"},
        {"time": 2.0, "level": "warning", "message": "b"},
        {"time": 3.0, "level": "error", "message": "c"},
    ]
    (tmp_path / logs.NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    assert [
        line["message"] for line in logs.last_lines(tmp_path, 10, logs.chosen(**wanted))
    ] == found


def test_a_line_that_is_no_line_is_shown(tmp_path: Path) -> None:
    (tmp_path / logs.NAME).write_text("Segmentation fault\n[1]\n\n")

    assert [line["message"] for line in logs.last_lines(tmp_path, 10, logs.chosen())] == [
        "Segmentation fault",
        "[1]",
    ]


def test_following_goes_on_when_the_file_is_turned_over(log: tuple[logging.Logger, Path]) -> None:
    logger, folder = log
    logger.info("before")
    following = logs.follow(folder, pause=0.0)
    handler = file_of(logging.getLogger())

    told: list[str] = []
    started = iter(_then(logger, handler))
    next(started)
    for line in following:
        told.append(line["message"])
        if next(started, None) is None:
            break

    assert told == ["one", "two", "three"]


def _then(logger: logging.Logger, handler: RotatingFileHandler) -> Iterator[bool]:
    """Write on while somebody follows."""

    threading.Timer(0.05, logger.info, ["one"]).start()
    yield True
    logger.info("two")
    handler.doRollover()
    yield True
    logger.info("three")
    yield True


def test_what_is_made_to_be_slow_is_not() -> None:
    """Of 64 times the text, no more than some 64 times the time: a square would be 4,096 times."""

    def seconds(text: str) -> float:
        began = time.perf_counter()
        logs.without_secrets(text)
        return time.perf_counter() - began

    for part in ("a-", "token", "code-", "token=a "):
        short = min(seconds(part * 250) for _ in range(5))
        assert min(seconds(part * 16_000) for _ in range(3)) < 1000 * max(short, 1e-5)
