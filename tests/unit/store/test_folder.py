"""What is made in a data folder, and where one may be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from qcov import private_file
from qcov.errors import StoreUnavailable
from qcov.store import folder
from qcov.store.folder import identity, installation_key, prepare_folder


@pytest.mark.parametrize(
    "made",
    [lambda path: installation_key(path / "seal.key"), identity],
    ids=["installation_key", "identity"],
)
def test_all_that_make_it_at_the_same_time_have_the_same(
    tmp_path: Path, made: Callable[[Path], object]
) -> None:
    for number in range(30):
        place = tmp_path / str(number)
        place.mkdir()
        together, found = threading.Barrier(8), []

        def make() -> None:
            together.wait(20)  # noqa: B023  # it ends within its round
            found.append(made(place))  # noqa: B023

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) == 8
        assert len(set(found)) == 1
        assert len(list(place.iterdir())) == 1  # no draft is left


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    private_file.make(tmp_path / "file", b"first")
    private_file.make(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the system says is on a network file system."""
    mounts = tmp_path / "mounts"
    place = tmp_path / "home"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/home {place} nfs4 rw 0 0\n")
    monkeypatch.setattr(folder, "_MOUNTS", mounts)
    return place


def test_a_network_file_system_is_no_place_for_sqlite(on_nfs: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"\(nfs4\).*QCOV_DATA_DIR.*workflow_data.db_url"):
        prepare_folder(on_nfs / "qcov")


def test_a_network_file_system_will_do_if_the_database_is_on_a_server(on_nfs: Path) -> None:
    prepare_folder(on_nfs / "qcov", "postgresql://host/db")

    assert (on_nfs / "qcov").is_dir()
