"""Looking at what an electron prints, while it prints."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from qcov.classical.engine.streams import Part, Tail, unnamed_file


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = unnamed_file()
    yield descriptor
    os.close(descriptor)


def test_glances_join_to_all_that_was_printed(file: int) -> None:
    tail, seen, at = Tail(file), "", 0
    for text in ("one\n", "", "two ", "äöü€𝄞\n"):
        for byte in text.encode():
            os.write(file, bytes([byte]))
            part = tail.glance(at)
            seen, at = seen + part.text, part.end
    assert seen == "one\ntwo äöü€𝄞\n"
    assert tail.at == 0  # nothing counts as read


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (b"a\r", "a"),  # a line end may follow
        (b"a\r\n", "a\r\n"),
        (b"a\x1b", "a"),
        (b"a\x1b[3", "a"),
        (b"a\x1b[31m", "a\x1b[31m"),
        (b"a\x1b]0;title", "a"),
        (b"a\x1b]0;title\x07b", "a\x1b]0;title\x07b"),
        (b"a\xe2\x82", "a"),
        (b"a\xe2\x82b", "a\\xe2\\x82b"),
    ],
)
def test_what_is_not_complete_comes_with_its_rest(file: int, printed: bytes, told: str) -> None:
    os.write(file, printed)
    tail = Tail(file)
    part = tail.glance(0)
    assert part.text == told

    os.write(file, b"\x07.")  # an end for whatever it was
    assert tail.glance(part.end).text.endswith("\x07.")


def test_of_much_only_the_latest_is_told(file: int) -> None:
    for _ in range(1000):
        os.write(file, b"x" * 1023 + b"\n")
    os.write(file, b"the end")

    first = Tail(file).glance(0)
    assert first.text.endswith("x\nthe end")
    assert len(first.text) == first.end - first.start <= 1 << 16
    assert first.end == 1000 * 1024 + 7
    near = Tail(file).glance(first.end - 100_000)  # near enough to follow, a part at a time
    assert (near.start, near.end) == (first.end - 100_000, first.end - 100_000 + (1 << 16))


def test_the_next_electron_begins_anew(file: int) -> None:
    tail = Tail(file)
    os.write(file, b"the first one's")
    tail.move(15, begin=True)
    os.write(file, b"second")
    assert tail.glance(0) == Part(start=0, end=6, text="second")
    assert tail.glance(4).text == "nd"

    os.ftruncate(file, 0)  # as a worker does between two electrons that print much
    os.write(file, b"third")
    assert tail.glance(0).text == "third"
    tail.move(5, begin=False)
    os.write(file, b", which prints more than the first one")
    assert tail.glance(0).text == "third, which prints more than the first one"


def test_a_position_beyond_the_end_gives_the_latest(file: int) -> None:
    os.write(file, b"short")
    assert Tail(file).glance(1000) == Part(start=0, end=5, text="short")
