"""Files and transfers as values, copies on one machine, and what stands in a graph."""

from __future__ import annotations

import os
import pickle
import shlex
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.files.file import placed
from qcov.classical.manifest import build_manifest
from qcov.context import Context, running
from qcov.errors import TransferFailed, WrongArguments, WrongSetting
from qcov.fs import File, FileTransfer, Folder, Order, TransferFromRemote, TransferToRemote
from qcov.fs_strategies import HTTP, S3, Blob, FileTransferStrategy, GCloud, Rsync, Shutil

AZURE = "https://lab.blob.core.windows.net/box"


@pytest.mark.parametrize(
    ("given", "path", "shown", "is_remote", "is_dir"),
    [
        ("/a/b", "/a/b", "/a/b", False, False),
        ("/a/b/", "/a/b", "/a/b", False, True),
        ("/a/../b", "/b", "/b", False, False),
        (Path("/a/b"), "/a/b", "/a/b", False, False),
        ("file:///a/b%20c", "/a/b c", "/a/b c", False, False),
        ("file://localhost/a", "/a", "/a", False, False),
        ("s3://b/k/a?b#c%20", "s3://b/k/a?b#c%20", "s3://b/k/a?b#c%20", True, False),
        ("gs://b/k/", "gs://b/k/", "gs://b/k/", True, True),
        ("https://u:pw@h/a@b?sig=1/", "https://u:pw@h/a@b?sig=1/", "https://h/a@b", True, False),
        (f"{AZURE}/x/?sig=1", f"{AZURE}/x/?sig=1", f"{AZURE}/x/", True, True),
        ("odd://x/y", "odd://x/y", "odd://x/y", True, False),
    ],
)
def test_what_a_path_means(
    given: str, path: str, shown: str, is_remote: bool, is_dir: bool
) -> None:
    file = File(given)

    assert (file.filepath, str(file)) == (path, shown)
    assert (file.is_remote, file.is_dir) == (is_remote, is_dir)
    assert "pw" not in repr(file)
    assert "sig" not in repr(file)


def test_paths_are_those_of_where_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ana")

    assert File("a/b").filepath == str(tmp_path / "a" / "b")
    assert File("~/b").filepath == "/home/ana/b"
    assert File("~/b", is_remote=True).filepath == "~/b"
    assert File("a/b", is_remote=True).filepath == "a/b"
    assert File("/a b").uri == "file:///a b"


def test_a_temporary_file_is_the_electrons_own() -> None:
    file = pickle.loads(pickle.dumps(File()))
    inside = Context(dispatch_id="d1", node_id=3, electron="f")

    with running(inside):
        one, again = file.filepath, file.filepath
        within = file.joined("name").filepath
    with running(Context(dispatch_id="d1", node_id=4, electron="f")):
        other = file.filepath

    assert one == again != other
    assert within == f"{one}/name"
    folders = [Path(path).parent for path in (one, other)]
    assert {str(folder.parent) for folder in folders} == {tempfile.gettempdir()}
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
    for folder in folders:
        folder.rmdir()


def test_what_is_only_named_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert f"{tmp_path}/qcov-" in f"{File()!r} {FileTransfer(to_file='/a')}"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_temporary_file_is_in_no_folder_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = File()
    folder = Path(str(file)).parent
    folder.mkdir()
    os.chown(folder, 65534, 65534)

    with pytest.raises(PermissionError, match="somebody else has made it"):
        _ = file.filepath


@pytest.mark.parametrize(
    ("source", "destination", "path"),
    [
        (File("/a/b"), File("/c"), "/c"),
        (File("/a/b"), File("/c/"), "/c/b"),
        (File("/a/b"), Folder("s3://x"), "s3://x/b"),
        (File("https://h/a/b.csv?x=1"), Folder("/c"), "/c/b.csv"),
        (File("/a/b"), File(f"{AZURE}/c/?sig=1"), f"{AZURE}/c/b?sig=1"),
        (Folder("/a/b"), File("/c"), "/c"),
        (Folder("/a/b", include_folder=True), File("/c"), "/c/b"),
        (Folder("/a/b"), Folder("/c", include_folder=True), "/c/b"),
        (Folder("s3://x/y/", include_folder=True), Folder("gs://z/"), "gs://z/y"),
    ],
)
def test_where_things_come_to_be(source: File, destination: File, path: str) -> None:
    target = placed(source, destination)

    assert target.filepath == path
    assert target.is_dir == source.is_dir
    assert placed(source.without_itself(), target).filepath == path


@pytest.mark.parametrize(
    ("source", "destination", "strategy"),
    [
        ("/a", "/b", Shutil),
        (None, None, Shutil),
        ("http://h/a", None, HTTP),
        ("https://h/a", "/b", HTTP),
        ("s3://b/a", "/b", S3),
        ("/a", "s3://b/a", S3),
        ("s3://b/a", "s3://c/a", S3),
        ("/a", "gs://b/a", GCloud),
        (f"{AZURE}/a", "/b", Blob),
        ("https://lab.blob.core.chinacloudapi.cn/box/a", "/b", Blob),
    ],
)
def test_the_url_says_the_strategy(
    source: str | None, destination: str | None, strategy: type
) -> None:
    assert type(FileTransfer(source, destination).strategy) is strategy


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: File(""), "filepath must be a path or a URL, not ''"),
        (lambda: File("a\0b"), "filepath must be a path"),
        (lambda: File(3), "filepath must be a path or a URL, not 3"),  # type: ignore[arg-type]
        (lambda: File("file://host/a"), "must be file:///path"),
        (lambda: File("file://a"), "must be file:///path"),
        (lambda: FileTransfer("/a", "/b", "later"), "order must be Order.BEFORE or Order.AFTER"),  # type: ignore[arg-type]
        (lambda: FileTransfer("/a", "/b", strategy=S3), "strategy must be one of ct.fs_strategies"),  # type: ignore[arg-type]
        (lambda: FileTransfer("ftp://h/a", "/b"), "must be given: none of qcov's knows"),
        (lambda: FileTransfer("/a", "http://h/a"), "upload /a to http://h/a must be another one"),
        (lambda: FileTransfer("http://h/a/", "/b"), "a file at http:// or https://, not the fold"),
        (lambda: FileTransfer("http://h/a", "s3://b/c"), "HTTP, which cannot"),
        (lambda: FileTransfer("s3://b/a", "gs://b/a"), "must be s3://bucket/key, not gs://b/a"),
        (lambda: FileTransfer("s3://b", "/a"), "must be s3://bucket/key, not s3://b"),
        (lambda: FileTransfer("https://lab.blob.core.windows.net/box", "/a"), "container/name"),
        (lambda: FileTransfer("s3://b/a", "/a", strategy=Blob()), "must be https://account"),
        (lambda: FileTransfer("s3://b/a", "/a", strategy=Shutil()), "Shutil, which cannot"),
        (lambda: Shutil().cp("s3://b/a", "/a"), "must be a path of this machine, not s3://b/a"),
        (lambda: TransferFromRemote("/a", "/b"), r"must be Rsync\(user=..., host=...\)"),
        (lambda: FileTransfer("s3://b/a", "/b", strategy=Rsync(host="h")), "is_remote=True"),
        (lambda: Rsync(host="-oProxyCommand=bad"), "host of Rsync must be a name"),
        (lambda: Rsync(user="a b", host="h"), "user of Rsync must be a name"),
        (lambda: Blob(client_id="1"), "must be given together, or none of them"),
        (lambda: ct.electron(files="s3://b/a"), "files must be a FileTransfer or a list"),  # type: ignore[call-overload]
        (lambda: ct.electron(abs).set_metadata("files", [File("/a")]), "files must be a FileTra"),
        (
            lambda: ct.electron(ct.lattice(abs), files=FileTransfer("/a", "/b")),
            "files of 'abs' must be given for the electrons in it",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(
    make: Callable[[], Any], reason: str
) -> None:
    with pytest.raises(WrongSetting, match=reason):
        make()


def test_lattices_take_no_files() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'files'"):
        ct.lattice(files=[])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "strategy",
    [
        S3(credentials="hidden", profile="p"),
        GCloud(credentials='{"private_key": "hidden"}'),
        Blob("hidden", "hidden", "hidden"),
    ],
)
def test_secrets_are_never_shown(strategy: FileTransferStrategy) -> None:
    url = {S3: "s3://b/a", GCloud: "gs://b/a", Blob: f"{AZURE}/a"}[type(strategy)]

    assert "credentials=..." in repr(strategy)
    assert "hidden" not in repr(FileTransfer(url, "/b", strategy=strategy))
    assert "hidden" not in repr(strategy.download(url, "/b"))


@pytest.mark.parametrize(
    ("module", "strategy", "url", "extra"),
    [
        ("boto3", S3(), "s3://b/a", "aws"),
        ("google.cloud.storage", GCloud(), "gs://b/a", "gcp"),
        ("azure.storage.blob", Blob(), f"{AZURE}/a", "azure"),
    ],
)
def test_a_missing_library_says_which_extra_brings_it(
    module: str,
    strategy: FileTransferStrategy,
    url: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    transfer = strategy.download(url, str(tmp_path / "a"))

    with pytest.raises(TransferFailed, match=rf"pip install 'qcov\[{extra}\]'"):
        transfer()


def test_rsyncs_commands() -> None:
    rsync = Rsync("ana", "cluster", "/keys/id")
    here, there = File("/here/a b"), File("/there/a", is_remote=True)
    ssh = "ssh -o BatchMode=yes -o IdentitiesOnly=yes -i /keys/id"

    local = shlex.split(rsync.get_rsync_cmd(here, File("/c")))
    folder = shlex.split(rsync.get_rsync_cmd(Folder("/a"), File("/c")))
    whole = shlex.split(rsync.get_rsync_cmd(Folder("/a", include_folder=True), File("/c")))
    down = shlex.split(rsync.get_rsync_ssh_cmd(here, there, transfer_from_remote=True))
    up = shlex.split(rsync.get_rsync_ssh_cmd(here, there))
    plain = shlex.split(Rsync(host="::1").get_rsync_ssh_cmd(File("/a"), File("~/b", True)))

    assert local == ["rsync", "-Lpt", "/here/a b", "/c"]
    assert folder == ["rsync", "-Lptr", "/a/", "/c/"]
    assert whole == ["rsync", "-Lptr", "/a/", "/c/a/"]
    ends = ["--protect-args", "-e", ssh]
    assert down == ["rsync", "-Lpt", *ends, "ana@cluster:/there/a", "/here/a b"]
    making = ["--rsync-path", "mkdir -p /there && rsync"]
    assert up == ["rsync", "-Lpt", *making, *ends, "/here/a b", "ana@cluster:/there/a"]
    assert plain[-2:] == ["/a", "[::1]:b"]
    assert rsync.get_rsync_cmd(there, here, transfer_from_remote=True) == shlex.join(down)
    assert rsync.get_rsync_cmd(here, there) == shlex.join(up)


def test_a_missing_rsync_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(TransferFailed, match="rsync is missing: .* by Shutil"):
        Rsync().cp(Folder(tmp_path), str(tmp_path / "new"))()


# -- copies on one machine ---------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("b")
    (folder / "link").symlink_to("a.txt")
    return folder


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_a_copy_is_whole_and_replaces_what_was_there(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "target"
    os.utime(source / "a.txt", (1, 2))

    for text in ("a", "a, changed"):
        (source / "a.txt").write_text(text)
        FileTransfer(source / "link", target).run()
        assert tree(target.parent) == {"target": text}

    assert target.stat().st_mtime == (source / "a.txt").stat().st_mtime


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_is_copied_over_what_is_there(source: Path, tmp_path: Path, whole: bool) -> None:
    transfer = FileTransfer(Folder(source, include_folder=whole), tmp_path / "target")
    target = Path(transfer.paths[1])
    target.mkdir(parents=True)
    (target / "other").write_text("stays")

    transfer.run()
    transfer.run()

    assert target == tmp_path / "target" / ("source" if whole else "")
    assert tree(target) == {**tree(source), "other": "stays"}


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("missing", "target", "No such file or directory"),
        ("missing/", "target", "No such file or directory"),
        ("deep", "target", "it is a folder: make it a Folder"),
        ("a.txt", "deep", "Is a directory"),
        ("./", "deep/inner", "a folder cannot be copied into itself"),
        ("a.txt", "a.txt/target", "exists|Not a directory"),
    ],
)
def test_a_copy_that_fails_leaves_nothing(
    source: Path, name: str, target: str, reason: str
) -> None:
    before = tree(source)
    transfer = FileTransfer(f"{source}/{name}", source / target)

    with pytest.raises(TransferFailed, match=reason) as failed:
        transfer.run()

    assert f"{source / name} could not be transferred to {source / target}" in str(failed.value)
    assert tree(source) == before


def test_temporary_copies_are_nobody_elses_to_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file, folder = FileTransfer(source / "a.txt"), FileTransfer(Folder(source))

    for transfer in (file, folder):
        transfer.run()

    assert Path(file.paths[1]).read_text() == "a"
    assert tree(Path(folder.paths[1])) == tree(source)
    assert not any(Path(one.paths[1]).stat().st_mode & 0o077 for one in (file, folder))
    assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.glob("qcov-*")} == {0o700}


def test_what_an_electron_writes_to_be_transferred_is_nobody_elses_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    transfer = FileTransfer(to_file=tmp_path / "out", order=Order.AFTER)
    written = Path(transfer.paths[0])
    written.write_text("a secret")

    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700
    transfer.run()
    assert (tmp_path / "out").read_text() == "a secret"


def test_a_strategy_of_ones_own(tmp_path: Path) -> None:
    class Shouting(FileTransferStrategy):
        def download(self, from_file: Any, to_file: Any = None) -> Callable[[], None]:
            return lambda: Path(to_file.filepath).write_text(str(from_file).upper()) and None

    def fails(from_file: Any, to_file: Any = None) -> Callable[[], None]:
        return lambda: {}["key"]

    TransferFromRemote("odd://x", tmp_path / "a", strategy=Shouting()).run()
    broken = Shouting()
    broken.upload = fails  # type: ignore[method-assign]

    assert (tmp_path / "a").read_text() == "ODD://X"
    with pytest.raises(TransferFailed, match="to odd://x: KeyError: 'key'"):
        TransferToRemote("odd://x", tmp_path / "a", strategy=broken).run()


# -- in a graph --------------------------------------------------------------------------------


def takes(files: Any = None) -> None: ...
def takes_all(**kwargs: Any) -> None: ...
def takes_none() -> None: ...
def takes_by_position(files: Any = None, /) -> None: ...


EARLY, LATE = FileTransfer("/a", "/b"), FileTransfer("/c", "/d", Order.AFTER)


@pytest.mark.parametrize(
    ("function", "files", "before", "after"),
    [
        (takes, [EARLY, LATE], ["files"], [""]),
        (takes, EARLY, ["files"], []),
        (takes, [LATE], ["files"], [""]),
        (takes_all, [EARLY], ["files"], []),
        (takes_none, [EARLY, LATE], [""], [""]),
        (takes_none, [LATE], [], [""]),
        (takes_by_position, [EARLY], [""], []),
    ],
)
def test_what_runs_beside_an_electron(
    function: Callable[..., Any], files: Any, before: list[str], after: list[str]
) -> None:
    electron = ct.electron(files=files)(function)

    manifest = build_manifest(ct.lattice(lambda: [electron(), electron()]), (), {})

    (made,) = manifest["preparations"]
    for steps, keywords in ((made["before"], before), (made["after"], after)):
        assert [step["keyword"] for step in steps] == keywords
        assert {step["kind"] for step in steps} <= {"Transfers"}


def test_functions_with_and_without_files_share_no_description() -> None:
    files = [EARLY]
    one, other = ct.electron(files=files)(takes), ct.electron(files=files)(takes_none)
    for electron in (one, other):
        electron.metadata["files"] = files

    manifest = build_manifest(ct.lattice(lambda: [one(), other()]), (), {})

    assert [made["before"][0]["keyword"] for made in manifest["preparations"]] == ["files", ""]


def test_the_steps_stand_in_their_order() -> None:
    electron = ct.electron(
        files=[EARLY, LATE], deps_bash="true", call_before=print, call_after=print
    )(takes)

    (made,) = build_manifest(ct.lattice(electron), (), {})["preparations"]

    assert [step["kind"] for step in made["before"]] == ["Transfers", "DepsBash", "DepsCall"]
    assert [step["kind"] for step in made["after"]] == ["DepsCall", "Transfers"]
    assert [made[when][where]["label"] for when, where in (("before", 0), ("after", -1))] == [
        "/a -> /b, /c -> /d", "/c -> /d",
    ]  # fmt: skip


def test_files_need_not_be_given_in_the_call() -> None:
    @ct.electron(files=EARLY)
    def needs(x: int, files: Any) -> None: ...

    build_manifest(ct.lattice(lambda: needs(1)), (), {})
    with pytest.raises(WrongArguments, match="missing a required argument: 'x'"):
        build_manifest(ct.lattice(needs), (), {})


def test_outside_a_lattice_nothing_is_transferred() -> None:
    missing = FileTransfer("/nowhere/at/all", "/nowhere/else")

    assert ct.electron(files=missing)(lambda x: x + 1)(2) == 3
