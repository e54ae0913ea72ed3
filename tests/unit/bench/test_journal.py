"""Lines of results: whole, or told to be damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcov.errors import CannotMeasure
from qcov_bench.backends import journal
from qcov_bench.backends.journal import Journal

END = {"schema": 1, "kind": "end", "usd": 0.0}


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_appended_is_there_at_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    file = Journal.open(path)
    file.append("end", usd=0.0)

    assert lines_of(path) == [END]  # before it is closed
    file.close()
    assert list(journal.read(path).lines) == [END]


def test_without_a_file_lines_are_only_remembered() -> None:
    memory = Journal.open(None)
    memory.append("end", usd=0.0)

    assert list(memory) == [END]


def test_a_half_line_is_left_out_and_what_comes_after_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    path.write_text(json.dumps(END) + "\n" + '{"schema": 1, "kind": "sam')

    file = Journal.open(path)
    file.append("end", usd=1.0)
    file.close()

    content = journal.read(path)
    assert [line["usd"] for line in content.lines] == [0.0, 1.0]
    assert content.damaged == (2,)


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"kind": "end"}',
        b'{"schema": 1, "kind": "sample", "subject": "x"}',
        b'{"schema": 1, "kind": "skipped", "subject": 1, "reason": "no"}',
        b'{"schema": 1, "kind": "run"}',
    ],
)
def test_damaged_lines_are_counted_and_left_out(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    good = json.dumps(END).encode()
    path.write_bytes(b"\n".join([good, damage, b"", good, b""]))

    content = journal.read(path)

    assert (len(content.lines), content.damaged) == (2, (2,))


def test_a_file_with_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("Chapter 1\n")

    with pytest.raises(CannotMeasure, match="has something else than results"):
        Journal.open(path)
    assert path.read_text() == "Chapter 1\n"


def test_two_programs_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    first = Journal.open(path)

    with pytest.raises(CannotMeasure, match="another program writes to it"):
        Journal.open(path)
    first.close()
    Journal.open(path).close()


@pytest.mark.parametrize("name", ["missing/it.jsonl", "."])
def test_a_file_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match=r"Give another path\."):
        Journal.open(tmp_path / name)


def test_a_file_of_a_newer_qcov_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    path.write_text('{"schema": 2, "kind": "end"}\n')

    with pytest.raises(CannotMeasure, match=r"it has schema 2, this qcov knows 1\. Upgrade"):
        journal.read(path)
