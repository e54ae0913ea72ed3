"""Large payloads as files."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcov.errors import IntegrityError, StoreUnavailable
from qcov.store import blobs
from qcov.transport import address

DATA = b"payload" * 1000
DIGEST = address(DATA)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    blobs.write(tmp_path, DIGEST, DATA)

    assert blobs.read(tmp_path, DIGEST) == DATA


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    blobs.write(folder, DIGEST, DATA)

    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}


def test_the_same_content_is_stored_once(tmp_path: Path) -> None:
    blobs.write(tmp_path, DIGEST, DATA)
    before = blobs.path_of(tmp_path, DIGEST).stat().st_ino
    blobs.write(tmp_path, DIGEST, DATA)

    assert blobs.path_of(tmp_path, DIGEST).stat().st_ino == before


def test_no_draft_is_left(tmp_path: Path) -> None:
    blobs.write(tmp_path, DIGEST, DATA)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        tmp_path / DIGEST[:2] / DIGEST
    ]


def test_a_file_that_is_gone_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="its file is gone"):
        blobs.read(tmp_path, DIGEST)


NOT_DIGESTS = [
    "", "..", "../" * 20 + "etc/passwd", "a" * 63, "a" * 65, DIGEST.upper(), DIGEST + "\n",
    DIGEST[:-1] + "g", "/" + DIGEST[1:], DIGEST[:-1] + "\0", "\uff10" * 64,
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_DIGESTS)
def test_only_digests_name_files(name: str, tmp_path: Path) -> None:
    for use in (blobs.read, blobs.path_of, lambda folder, name: blobs.write(folder, name, b"x")):
        with pytest.raises(IntegrityError, match="not a digest"):
            use(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_a_path_is_always_inside_the_folder(name: str) -> None:
    folder = Path("/store/blobs")
    try:
        path = blobs.path_of(folder, name)
    except IntegrityError:
        return
    assert path.resolve().is_relative_to(folder)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow; pytest's own output, if it goes to one, neither."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreUnavailable, match="File too large.*Free some space"),
        full_disk(),
    ):
        blobs.write(tmp_path, DIGEST, DATA)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="/proc/blobs"):
        blobs.write(Path("/proc/blobs"), DIGEST, DATA)
