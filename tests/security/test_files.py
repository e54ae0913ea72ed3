"""What is on the disk is its owner's, whatever the umask says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import qcov as ct
from qcov.errors import StoreUnavailable
from qcov.store.folder import prepare_folder

pytestmark = pytest.mark.process

_PROGRAM = """
import os, sys
os.umask(0)
import qcov as ct
from qcov.classical.engine.client import connect
from qcov.cli import main

@ct.electron
def large(n):
    print("something")
    return b"x" * n

@ct.lattice
def flow(n):
    return large(n)

client = connect(start=True)
client.call("serve", host="localhost", port=0)
ct.dispatch_sync(flow)(200_000)
sys.argv = ["qcov", "token", "share", "a colleague"]
main()
"""


def test_nobody_else_can_read_anything(data_folder: Path, tmp_path: Path) -> None:
    """11: with a umask of 0, every file is 0600 (or without any right for others), every folder
    0700, in the data folder and in the configuration's."""
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr

    found = [data_folder, *data_folder.rglob("*")]
    names = {path.name for path in found}
    assert {"server.token", "server.shares.json", "seal.key", "qcov.sqlite", "engine.sock"} <= names
    assert any(len(name) == 64 for name in names)  # a payload in a file of its own
    open_to_others = {
        str(path.relative_to(data_folder)): oct(path.lstat().st_mode)
        for path in found
        if stat.S_IMODE(path.lstat().st_mode) & 0o077 and not path.is_symlink()
    }
    assert open_to_others == {}


def _as_another_user(*code: str) -> subprocess.CompletedProcess[str]:
    drop = ["import os, socket", "os.setgid(65534)", "os.setuid(65534)", *code]
    command = [sys.executable, "-c", "\n".join(drop)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """11: neither taken, nor, when it is open to all, used."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o777)
    os.chown(folder, 65534, 65534)
    with pytest.raises(StoreUnavailable, match="it belongs to another user"):
        prepare_folder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOV_DATA_DIR", str(folder))
        with pytest.raises(StoreUnavailable, match="it belongs to another user"):
            ct.dispatch(ct.lattice(lambda: 1))()
    assert [*folder.iterdir()] == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_reads_neither_token_nor_socket(own_site: object, data_folder: Path) -> None:
    """11, 12: another user of the machine gets no further than the door."""
    for folder in (*data_folder.parents,):  # the way there is open; the folder itself is not
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(0o755)
    for action in (
        f"open({str(data_folder / 'server.token')!r})",
        f"open({str(data_folder / 'qcov.sqlite')!r})",
        f"socket.socket(socket.AF_UNIX).connect({str(data_folder / 'engine.sock')!r})",
        f"os.listdir({str(data_folder)!r})",
    ):
        ran = _as_another_user(action)
        assert "PermissionError" in ran.stderr, (action, ran.stderr)


def test_no_name_in_the_common_folder_can_be_foreseen(tmp_path: Path) -> None:
    """11: what is made in /tmp has a random name and belongs to its owner alone."""
    common = tmp_path / "tmp"
    names = []
    for number in range(2):
        common.mkdir()
        deep = tmp_path / ("a folder with a long name " * 4) / str(number)  # too long for a socket
        program = (
            "import os, qcov as ct; from qcov.classical.engine.client import connect\n"
            "c = connect(start=True); ct.dispatch_sync(ct.lattice(lambda: 1))()\n"
            f"for r, d, f in os.walk({str(common)!r}):\n"
            "    for n in d + f:\n"
            "        p = os.path.join(r, n); print(p, oct(os.lstat(p).st_mode & 0o077))\n"
            "c.call('stop')\n"
        )
        variables = os.environ | {"TMPDIR": str(common), "QCOV_DATA_DIR": str(deep)}
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=300,
            env=variables,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        lines = [line.rsplit(" ", 1) for line in ran.stdout.splitlines()]
        assert lines
        assert {mode for _, mode in lines} == {"0o0"}, lines
        names.append({Path(name).relative_to(common).parts[0] for name, _ in lines})
        common.rename(tmp_path / f"tmp {number}")
    assert not names[0] & names[1]
