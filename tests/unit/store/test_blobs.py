"""Large payloads as files and as objects."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcov.errors import IntegrityError, StoreUnavailable
from qcov.store.blobs import Folder, Payloads, open_payloads
from qcov.transport import address
from tests.unit.store.conftest import PLACES

DATA = b"payload" * 200_000  # so much that it is asked for before it is sent
DIGEST = address(DATA)
GONE = "0" * 64


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder and a URL in turn."""
    if request.param == "bucket":
        return request.getfixturevalue("bucket").url
    return str(tmp_path / "blobs")


@pytest.fixture
def payloads(place: str) -> Payloads:
    return open_payloads(place)


def test_what_was_written_is_read(payloads: Payloads) -> None:
    payloads.check()
    payloads.write(DIGEST, DATA)
    payloads.write(DIGEST, DATA)

    assert payloads.read(DIGEST) == DATA


def test_what_is_gone_is_an_integrity_error(payloads: Payloads) -> None:
    payloads.write(DIGEST, DATA)
    payloads.remove([DIGEST, GONE])
    payloads.remove([])

    for digest in (DIGEST, GONE):
        with pytest.raises(IntegrityError, match="its (file|object.*) is gone"):
            payloads.read(digest)


def test_ages_are_those_of_what_is_there(payloads: Payloads, tmp_path: Path) -> None:
    now = tmp_path / "now"
    now.touch()
    payloads.write(DIGEST, DATA)

    ages = payloads.ages([GONE, DIGEST])

    assert ages.keys() == {DIGEST}
    assert ages[DIGEST] == pytest.approx(now.stat().st_mtime, abs=5)
    assert payloads.ages([]) == {}


def test_a_forked_process_reads_and_writes(payloads: Payloads) -> None:
    payloads.write(DIGEST, DATA)
    other = b"other" * 20_000
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a loop that did not survive the fork would be waited for
        try:
            payloads.write(address(other), other)
            os._exit(payloads.read(DIGEST) != DATA)
        finally:
            os._exit(2)

    assert os.waitpid(child, 0)[1] == 0
    assert payloads.read(address(other)) == other


NOT_DIGESTS = [
    "", "..", "../" * 20 + "etc/passwd", "a" * 63, "a" * 65, DIGEST.upper(), DIGEST + "\n",
    DIGEST[:-1] + "g", "/" + DIGEST[1:], DIGEST[:-1] + "\0", "\uff10" * 64,
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_DIGESTS)
def test_only_digests_are_names(name: str, payloads: Payloads, tmp_path: Path) -> None:
    for use in (
        payloads.read,
        lambda name: payloads.write(name, b"x"),
        lambda name: payloads.ages([name]),
        lambda name: payloads.remove([name]),
    ):
        with pytest.raises(IntegrityError, match="not a digest"):
            use(name)
    assert list(tmp_path.iterdir()) == []


# -- a folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "blobs")


def files(folder: Folder) -> list[Path]:
    return [path for path in Path(folder.location).rglob("*") if path.is_file()]


def test_only_the_user_can_read_it(folder: Folder) -> None:
    folder.write(DIGEST, DATA)

    path = Path(folder.location)
    assert {each.stat().st_mode & 0o777 for each in files(folder)} == {0o600}
    assert {each.stat().st_mode & 0o777 for each in (path, *path.iterdir())} == {0o700}


def test_the_same_content_is_stored_once(folder: Folder) -> None:
    folder.write(DIGEST, DATA)
    before = folder.path_of(DIGEST).stat().st_ino
    folder.write(DIGEST, DATA)

    assert folder.path_of(DIGEST).stat().st_ino == before


def test_no_draft_is_left(folder: Folder) -> None:
    folder.write(DIGEST, DATA)

    assert files(folder) == [Path(folder.location, DIGEST[:2], DIGEST)]


@given(st.text())
def test_a_path_is_always_inside_the_folder(name: str) -> None:
    folder = Path("/store/blobs")
    try:
        path = Folder(folder).path_of(name)
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


def test_a_full_disk_is_named_and_leaves_nothing_half_written(folder: Folder) -> None:
    with (
        pytest.raises(StoreUnavailable, match="File too large.*Free some space"),
        full_disk(),
    ):
        folder.write(DIGEST, DATA)

    assert files(folder) == []


def test_a_folder_that_cannot_be_written_is_found_out_at_once(tmp_path: Path) -> None:
    below_a_file = tmp_path / "file" / "blobs"
    (tmp_path / "file").touch()
    for path in (below_a_file, tmp_path / "absent" / "blobs", Path("/proc/blobs")):
        with pytest.raises(StoreUnavailable, match="set `workflow_data.base_dir`"):
            Folder(path).check()

    Folder(tmp_path / "blobs").check()


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="data folder /proc/blobs") as caught:
        Folder(Path("/proc/blobs")).write(DIGEST, DATA)

    assert not Folder(Path("/proc/blobs")).passes(caught.value)
