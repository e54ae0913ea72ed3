"""What listens, and for whom."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.process


def qcov(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def listening(pid: int) -> Iterator[str]:
    """The addresses at which a process and its children can be reached over the network."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        for one in each.net_connections("inet"):
            if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and one.laddr):
                yield one.laddr.ip


_WORK = (
    "import qcov as ct\n"
    "ct.dispatch_sync(ct.lattice(ct.electron(lambda x: x)))(1)\n"
)  # fmt: skip


def test_it_listens_on_the_loopback_interface_alone(data_folder: Path) -> None:
    """12: the engine, its workers and all that belongs to them."""
    started = qcov("start", "--no-cluster", "-p", "0")
    assert started.returncode == 0, started.stderr
    subprocess.run([sys.executable, "-c", _WORK], check=True, timeout=60)
    pid = json.loads(qcov("status", "--json").stdout)["pid"]

    found = [*listening(pid)]
    assert found
    assert all(ipaddress.ip_address(address).is_loopback for address in found), found


def test_other_addresses_need_a_word_and_bring_a_warning(data_folder: Path) -> None:
    """12: `--host`, which says what it means, and lets in nobody without the token."""
    started = qcov("start", "--no-cluster", "-p", "0", "--host", "0.0.0.0")
    assert started.returncode == 0, started.stderr
    warned = " ".join(started.stderr.split())
    assert "everybody who reaches 0.0.0.0 can try to come in" in warned
    assert "nothing encrypts" in warned
    assert "your token" in warned

    pid = json.loads(qcov("status", "--json").stdout)["pid"]
    assert set(listening(pid)) == {"0.0.0.0"}
    url = re.findall(r"http://[^\s/]+", started.stdout)[0]
    port = url.rpartition(":")[2]
    for host in {"127.0.0.1", socket.gethostbyname(socket.gethostname())}:
        answer = httpx.get(f"http://{host}:{port}/api/v1/dispatches", trust_env=False)
        assert answer.status_code == 401


@pytest.mark.parametrize("where", ["environment", "file"])
def test_no_setting_exposes_it(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, where: str, tmp_path: Path
) -> None:
    """12: only the word on the command line does."""
    if where == "environment":
        monkeypatch.setenv("QCOV_DISPATCHER_ADDRESS", "0.0.0.0")
    else:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "qcov.conf").write_text('[dispatcher]\naddress = "0.0.0.0"\n')
    started = qcov("start", "-p", "0")

    assert started.returncode != 0
    assert "loopback" in started.stderr
    assert json.loads(qcov("status", "--json").stdout or '{"address": null}')["address"] is None
