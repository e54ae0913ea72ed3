"""The program rsync, on one machine and through a real sshd."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.errors import TransferFailed
from qcov.fs import File, FileTransfer, Folder, TransferFromRemote, TransferToRemote
from qcov.fs_strategies import Rsync
from tests.services.conftest import SSHServer

ODD = "sp ace é'\"$(x)*#.txt"


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a.txt", ODD, "deep/er/b.txt", "deep/empty"):
        (folder / name).write_text("" if name.endswith("empty") else f"in {name}")
    (folder / "link.txt").symlink_to(folder / "a.txt")
    return folder


@pytest.fixture
def host(ssh_server: SSHServer) -> Rsync:
    return Rsync(user=ssh_server.user, host="127.0.0.1", private_key_path=ssh_server.key)


@pytest.mark.parametrize("name", ["a.txt", ODD, "link.txt"])
def test_a_file_is_copied_on_one_machine(rsync: None, source: Path, name: str) -> None:
    target = source.parent / "new" / "folder" / "copy"

    Rsync().cp(str(source / name), str(target))()

    assert target.read_text() == (source / name).read_text()
    assert not target.is_symlink()


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_is_copied_on_one_machine(rsync: None, source: Path, whole: bool) -> None:
    target = source.parent / "target"
    transfer = FileTransfer(Folder(source, include_folder=whole), target, strategy=Rsync())

    transfer.run()
    transfer.run()  # again makes no second copy

    assert tree(Path(transfer.paths[1])) == tree(source)
    assert transfer.paths[1].rstrip("/") == str(target / "source" if whole else target)
    assert len(tree(target)) == len(tree(source))


@pytest.mark.parametrize("name", ["a.txt", ODD])
def test_a_file_comes_from_a_host(host: Rsync, source: Path, name: str) -> None:
    target = source.parent / "here" / ODD

    TransferFromRemote(source / name, target, strategy=host).run()

    assert target.read_text() == (source / name).read_text()
    assert [path.name for path in target.parent.iterdir()] == [ODD]


@pytest.mark.parametrize("name", ["a.txt", ODD])
def test_a_file_goes_to_a_host(host: Rsync, source: Path, name: str) -> None:
    target = source.parent / "its own" / "new folder" / name

    TransferToRemote(f"file://{target}" if name == "a.txt" else target, source / name, host).run()

    assert target.read_text() == (source / name).read_text()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("upload", [False, True])
def test_a_folder_travels_both_ways(host: Rsync, source: Path, whole: bool, upload: bool) -> None:
    target, folder = source.parent / "target", Folder(source, include_folder=whole)
    make = (
        (lambda: TransferToRemote(Folder(target), folder, host))
        if upload
        else (lambda: TransferFromRemote(folder, target, host))
    )

    make().run()

    assert tree(target / "source" if whole else target) == tree(source)
    assert len(tree(target)) == len(tree(source))


def test_a_path_may_begin_in_the_home_folder(host: Rsync, source: Path, tmp_path: Path) -> None:
    home = os.path.relpath(source, Path.home())
    target = tmp_path / "target"

    TransferFromRemote(f"~/{home}/a.txt", target, strategy=host).run()

    assert target.read_text() == "in a.txt"


@pytest.mark.parametrize(
    ("settings", "name", "reason"),
    [
        ({}, "missing", "No such file or directory"),
        ({}, "deep", "it is a folder: make it a Folder"),
        ({"private_key_path": "other"}, "a.txt", "Permission denied"),
        ({"private_key_path": "nowhere"}, "a.txt", "No such file or directory"),
    ],
)
def test_what_cannot_come_leaves_nothing(
    ssh_server: SSHServer, source: Path, settings: dict[str, str], name: str, reason: str
) -> None:
    key = ssh_server.folder / settings.get("private_key_path", "key")
    target = source.parent / "here" / "target"
    target.parent.mkdir()
    target.write_text("before")
    strategy = Rsync(ssh_server.user, "127.0.0.1", key)

    with pytest.raises(TransferFailed, match=reason) as failed:
        TransferFromRemote(source / name, target, strategy).run()

    assert str(source / name) in str(failed.value)
    assert str(target) in str(failed.value)
    assert tree(target.parent) == {"target": "before"}


def test_an_unknown_host_is_not_trusted(
    ssh_server: SSHServer, host: Rsync, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = ssh_server.command_with(UserKnownHostsFile="/dev/null")
    monkeypatch.setenv("RSYNC_RSH", strangers)

    with pytest.raises(TransferFailed, match="Host key verification failed"):
        TransferFromRemote(source / "a.txt", source.parent / "target", host).run()


@pytest.mark.process
def test_an_electron_works_on_files_of_a_host(host: Rsync, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "results" / "out.txt"

    @ct.electron(
        files=[
            TransferFromRemote(File(source / "a.txt"), strategy=host),
            TransferToRemote(str(target), strategy=host),
        ]
    )
    def shout(files: list[tuple[str, str]]) -> list[tuple[str, str]]:
        (_, here), (out, _) = files
        Path(out).write_text(Path(here).read_text().upper())
        return files

    result = ct.dispatch_sync(ct.lattice(shout))()

    assert result.status == "COMPLETED", result.error
    assert target.read_text() == "IN A.TXT"
    (there, here), (out, back) = result.result
    assert (there, back) == (str(source / "a.txt"), str(target))
    assert Path(here).stat().st_mode & 0o077 == 0  # what came is nobody else's to read
    Path(here).unlink()
    Path(out).unlink()


@pytest.mark.parametrize(
    "command",
    [
        lambda rsync, source, target: rsync.get_rsync_cmd(File(source), File(target)),
        lambda rsync, source, target: rsync.get_rsync_ssh_cmd(
            File(target), File(source, is_remote=True), transfer_from_remote=True
        ),
        lambda rsync, source, target: rsync.get_rsync_ssh_cmd(
            File(source), File(target, is_remote=True)
        ),
    ],
)
def test_commands_can_be_run_by_hand(
    host: Rsync, source: Path, command: Callable[[Any, Any, Any], str]
) -> None:
    target = source.parent / "by hand"

    host.return_subprocess_callable(command(host, source / ODD, target))()

    assert target.read_text() == f"in {ODD}"
