"""Bars: where they are shown, when they come and that they go."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import qcov as ct
from qcov import progress
from qcov.context import Context, running
from qcov.progress import Showing, is_wanted, shown, terminal_bar
from qcov.quantum.futures import CircuitFuture, counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(patch: pytest.MonkeyPatch) -> Terminal:
    """Standard error is a terminal from here on, and nobody says no.

    (A fixture cannot do it: pytest puts its own there after those.)
    """
    screen = Terminal()
    patch.setattr("sys.stderr", screen)
    patch.setenv("TERM", "xterm")
    for name in ("CI", "QCOV_PROGRESS"):
        patch.delenv(name, raising=False)
    return screen


def test_a_bar_is_wanted_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    assert is_wanted(None)
    assert is_wanted(True)
    assert not is_wanted(False)

    for name, value in (("QCOV_PROGRESS", "0"), ("QCOV_SDK_PROGRESS", "false"), ("CI", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not is_wanted(None), name
            assert is_wanted(True), name  # an argument stands above them
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "dumb")
        assert not is_wanted(True)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", io.StringIO())
        assert not is_wanted(True)
    with running(Context(dispatch_id="d", node_id=0, electron="e")):
        assert not is_wanted(True)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert not pool.submit(is_wanted, True).result()


def test_without_standard_error_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)

    assert not is_wanted(True)


def test_what_ends_soon_shows_and_imports_nothing() -> None:
    code = (
        "import sys, threading; from qcov.progress import shown; "
        "sys.stderr.isatty = lambda: True\n"
        "with shown('x', lambda: iter([(1, 2)]), True): pass\n"
        "print([m for m in ('rich', 'IPython') if m in sys.modules])"
    )
    environment = os.environ | {"TERM": "xterm"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_a_bar_comes_later_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(progress, "AFTER", 0.0)
    looked = threading.Event()

    def look() -> Iterator[tuple[int, int]]:
        yield 3, 7
        looked.set()
        yield 4, 7

    with shown("the \x1b[31mflow", look):
        assert looked.wait(10)

    said = screen.getvalue()
    assert "the flow" in said
    assert "3/7" in said
    assert said.rstrip().endswith("\x1b[2K")  # the line was cleared


def test_an_error_in_the_block_takes_the_bar_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(progress, "AFTER", 0.0)
    looked, go = threading.Event(), threading.Event()

    def look() -> Iterator[tuple[int, int]]:
        yield 1, 2
        looked.set()
        go.wait(10)
        yield 2, 2

    def interrupted() -> None:
        with shown("x", look):
            assert looked.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    said = screen.getvalue()
    go.set()

    assert "2/2" not in said
    assert screen.getvalue() == said


def test_a_bar_counts() -> None:
    screen = Terminal()
    bar = terminal_bar("[red]cosine", Console(file=screen, force_terminal=True))
    bar.update(3, 3)
    bar.close()

    assert "[red]cosine" in screen.getvalue()  # no markup
    assert "3/3" in screen.getvalue()


def test_futures_are_counted_and_not_started() -> None:
    futures = [CircuitFuture(), CircuitFuture(), CircuitFuture()]
    bound: list[int] = []
    waiting = CircuitFuture(lambda: bound.append(1))
    counts = counted([*futures, waiting])

    assert next(counts) == (0, 4)
    futures[0].set_result(1)
    assert next(counts) == (1, 4)
    for future in (*futures[1:], waiting):
        future.set_result(1)
    assert [*counts] == [(4, 4)]
    assert bound == []


@pytest.mark.process
def test_a_program_in_a_terminal_shows_how_far_its_dispatch_is(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = f"""
import pathlib, time, qcov as ct

@ct.electron
def nap(x):
    while x == 3 and not pathlib.Path({str(seen)!r}).exists():
        time.sleep(0.05)
    return x + 1

@ct.lattice
def sleepy():
    return nap(nap(nap(1)))

print(ct.dispatch_sync(sleepy)().result, flush=True)
"""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    ) as program:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the other side has hung up
            while part := os.read(ours, 4096):
                said += part
                if b"sleepy" in said and b"2/3" in said:
                    seen.touch()
        out, _ = program.communicate()
    os.close(ours)

    assert out == "4\n"


def test_pipes_see_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    future = CircuitFuture()
    future.set_result(1)

    assert ct.gather([future], progress=True) == [1]
    assert capsys.readouterr() == ("", "")


def test_showing_may_be_closed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    showing = Showing("x", lambda: iter([(1, 2)]))
    showing.close()
    showing.close()

    assert screen.getvalue() == ""
