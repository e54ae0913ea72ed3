"""Bytes by key: shared by threads and processes, bounded, and never in the way."""

import multiprocessing
import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qcov.store.cache import CacheFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache.sqlite"


@pytest.fixture
def file(path: Path) -> CacheFile:
    return CacheFile(path, 2**20)


def test_what_is_put_is_there_for_everybody(file: CacheFile, path: Path) -> None:
    assert file.get(b"a") is None
    file.put([(b"a", b"1"), (b"b", b"2")])
    file.put([(b"a", b"other")])

    again = CacheFile(path, 2**20)
    assert (again.get(b"a"), again.get(b"b"), len(again)) == (b"1", b"2", 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.clear()
    assert (file.get(b"a"), len(file)) == (None, 0)


def test_it_opens_again_after_it_was_closed(file: CacheFile) -> None:
    file.put([(b"a", b"1")])
    file.close()
    file.close()
    assert file.get(b"a") == b"1"


def test_a_file_that_another_one_takes_the_place_of_is_left(file: CacheFile, path: Path) -> None:
    file.put([(b"a", b"1")])
    path.unlink()
    other = CacheFile(path, 2**20)
    other.put([(b"b", b"2")])
    assert (file.get(b"a"), file.get(b"b")) == (None, b"2")
    file.put([(b"c", b"3")])
    other.close()
    file.close()
    assert CacheFile(path, 2**20).get(b"c") == b"3"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_the_oldest_go_when_it_is_full(path: Path) -> None:
    file = CacheFile(path, 100_000)
    for number in range(1000):
        file.put([(b"%d" % number, bytes(1000))])
    assert len(file) < 200
    assert file.get(b"999") is not None
    assert file.get(b"0") is None


def test_threads_share_it(file: CacheFile) -> None:
    def use(number: int) -> bytes | None:
        file.put([(b"%d" % (number % 50), b"%d" % (number % 50))])
        return file.get(b"%d" % (number % 50))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(400))) == [b"%d" % (number % 50) for number in range(400)]


def _fill(path: Path, first: int) -> None:
    file = CacheFile(path, 2**20)
    for number in range(first, first + 100):
        file.put([(b"%d" % number, b"x")])


def test_processes_share_it(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_fill, args=(path, first)) for first in (0, 100)]
    for process in others:
        process.start()
    _fill(path, 200)
    for process in others:
        process.join()
    assert len(CacheFile(path, 2**20)) == 300


def test_a_forked_child_uses_it(file: CacheFile) -> None:
    file.put([(b"a", b"1")])
    child = os.fork()
    if not child:
        file.put([(b"b", b"2")])
        os._exit(0 if file.get(b"a") == b"1" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert file.get(b"b") == b"2"


def test_a_file_that_is_none_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        CacheFile(path, 2**20).get(b"a")
