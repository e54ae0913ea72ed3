"""Files around electrons as they run, and from a web server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

import qcov as ct
from qcov.errors import TransferFailed
from qcov.fs import FileTransfer, Folder, Order, TransferFromRemote
from qcov.fs_strategies import HTTP

pytestmark = pytest.mark.usefixtures("common_engine")

Run = Callable[..., ct.Result]
BODY = bytes(range(256)) * 1000


class Web(BaseHTTPRequestHandler):
    """A file, a way to it, and files that cannot be had."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/moved":
            self.begin(302, 0, Location="/file")
        elif path == "/cut":  # the connection breaks in the middle
            self.begin(200, len(BODY))
            self.wfile.write(BODY[:1000])
            self.close_connection = True
        elif path == "/later" and not self.asked:
            self.asked.append(path)
            self.begin(503, 0)
        elif path in ("/file", "/later"):
            self.begin(200, len(BODY))
            self.wfile.write(BODY)
        else:
            self.begin(404, 0)

    def begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """The address of a web server."""
    Web.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/file", "/moved", "/file?key=secret"])
def test_a_file_comes_from_the_web(web: str, tmp_path: Path, path: str) -> None:
    target = tmp_path / "new" / "file"

    HTTP().download(web + path, str(target))()

    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing?key=secret", "the server answered 404 Not Found"),
        ("/cut?key=secret", "RemoteProtocolError: peer closed connection"),
    ],
)
def test_what_does_not_come_leaves_nothing(
    web: str, tmp_path: Path, path: str, reason: str
) -> None:
    target = tmp_path / "here" / "file"
    target.parent.mkdir()
    target.write_text("before")

    with pytest.raises(TransferFailed, match=reason) as failed:
        TransferFromRemote(web + path, target).run()

    url = (web + path).partition("?")[0]
    assert f"{url} could not be transferred to {target}: " in str(failed.value)
    assert [one.read_text() for one in target.parent.iterdir()] == ["before"]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TransferFailed, match="Connection refused"):
        TransferFromRemote("http://127.0.0.1:1/file", tmp_path / "file").run()


def test_files_are_the_first_and_the_last(run: Run, web: str, tmp_path: Path) -> None:
    data, log, out = tmp_path / "data", tmp_path / "log", tmp_path / "out"
    early = f"test -f {data} && echo bash >> {log}"

    def late() -> None:
        with log.open("a") as file:
            file.write(f"after, {out.exists()}\n")

    @ct.electron(
        files=[
            TransferFromRemote(f"{web}/file", data),
            FileTransfer(log, out, Order.AFTER),
        ],
        deps_bash=early,
        call_after=late,
    )
    def electron(x: int, files: Any = None) -> Any:
        with log.open("a") as file:
            file.write("electron\n")
        return x, files

    result = run(lambda: electron(1))

    assert result.status == "COMPLETED", result.error
    assert result.result == (1, [(f"{web}/file", str(data)), (str(log), str(out))])
    assert out.read_text().splitlines() == ["bash", "electron", "after, False"]


def test_each_electron_has_temporary_files_of_its_own(run: Run, tmp_path: Path) -> None:
    for name in ("in/a", "in/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    @ct.electron(
        files=[
            FileTransfer(Folder(tmp_path / "in")),
            FileTransfer(to_file=tmp_path / "out", order=Order.AFTER),
        ]
    )
    def electron(number: int, **given: Any) -> list[str]:
        (_, folder), (written, _) = given["files"]
        Path(written).write_text(str(number))
        assert sorted(one.name for one in Path(folder).iterdir()) == ["a", "b"]
        return [folder, written]

    def clean(folder: str, written: str) -> None:
        Path(written).unlink()
        for one in Path(folder).iterdir():
            one.unlink()
        Path(folder).rmdir()
        for path in (folder, written):
            Path(path).parent.rmdir()

    result = run(lambda: [electron(1), electron(2)])

    assert result.status == "COMPLETED", result.error
    assert len({path for paths in result.result for path in paths}) == 4
    assert (tmp_path / "out").read_text() in ("1", "2")
    for paths in result.result:
        clean(*paths)


@pytest.mark.parametrize("order", list(Order))
def test_a_transfer_that_fails_fails_its_electron(run: Run, tmp_path: Path, order: Order) -> None:
    ran, missing, target = (tmp_path / name for name in ("ran", "missing", "target"))

    @ct.electron(files=FileTransfer(missing, target, order))
    def electron() -> None:
        ran.touch()

    result = run(electron)

    assert result.status == "FAILED"
    error = result.get_node_result(0)["error"]
    assert f"TransferFailed: {missing} could not be transferred to {target}: No such" in error
    assert re.search(r"This happened in Transfers '.*' of the electron", error)
    assert ran.exists() == (order is Order.AFTER)
    assert not target.exists()


def test_a_retry_transfers_again(run: Run, web: str, tmp_path: Path) -> None:
    @ct.electron(files=TransferFromRemote(f"{web}/later", tmp_path / "target"), retries=1)
    def electron(files: Any) -> int:
        return len(Path(files[0][1]).read_bytes())

    once = run(electron)  # the server has what is asked for from the second time on

    assert once.result == len(BODY), once.error
