"""What listens, and for whom."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.waiting import until

pytestmark = pytest.mark.process

_ALERT = 21  # the first byte of what TLS says when it refuses somebody


def qcov(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qcov", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def listening(pid: int) -> Iterator[str]:
    """The addresses at which a process and its children can be reached over the network."""
    return (address for address, _ in sockets(pid))


def sockets(pid: int) -> Iterator[tuple[str, int]]:
    """The same, with the ports."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        for one in each.net_connections("inet"):
            if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and one.laddr):
                yield one.laddr.ip, one.laddr.port


_WORK = (
    "import qcov as ct\n"
    "ct.dispatch_sync(ct.lattice(ct.electron(lambda x: x)))(1)\n"
)  # fmt: skip


def test_it_listens_on_the_loopback_interface_alone(data_folder: Path) -> None:
    """12: the engine, its workers and all that belongs to them."""
    started = qcov("start", "--no-cluster", "-p", "0")
    assert started.returncode == 0, started.stderr
    subprocess.run([sys.executable, "-c", _WORK], check=True, timeout=300)
    pid = json.loads(qcov("status", "--json").stdout)["pid"]

    found = [*listening(pid)]
    assert found
    assert all(ipaddress.ip_address(address).is_loopback for address in found), found


@pytest.fixture
def cluster(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine says of its Dask cluster, which has two workers, once that runs."""
    pytest.importorskip("distributed", reason="needs the extra `dask`")
    monkeypatch.setenv("QCOV_SDK_NO_CLUSTER", "false")
    started = qcov("start", "-p", "0", "-n", "2")
    assert started.returncode == 0, started.stderr

    def running() -> dict[str, Any] | None:
        about = json.loads((data_folder / "engine.json").read_text())["cluster"]
        return about if about["status"] == "running" else None

    return until(running)


def answer_of(port: int, context: ssl.SSLContext | None) -> bytes:
    """What a socket says first to a client, which has said something of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        if context is None:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                return plain.recv(4096)
            return b""
        with context.wrap_socket(plain) as secret:
            return secret.recv(4096)


def test_the_dask_cluster_listens_on_loopback_to_those_with_its_certificate(
    cluster: dict[str, Any],
) -> None:
    """12: scheduler, nannies and workers; there is no page, and nothing else."""
    assert set(listening(cluster["pid"])) == {"127.0.0.1"}
    found = [port for _, port in sockets(cluster["pid"])]
    assert len(found) == 5  # a scheduler, two nannies, two workers
    assert "dashboard" not in cluster

    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    ours = ssl.create_default_context(cafile=cluster["certificates"]["tls_ca_file"])
    ours.check_hostname = False
    ours.load_cert_chain(cluster["certificates"]["tls_cert"], cluster["certificates"]["tls_key"])
    for port in found:
        said = answer_of(port, None)
        assert not said or said[0] == _ALERT, said
        with pytest.raises((ssl.SSLError, ConnectionError)):
            answer_of(port, stranger)
        assert b"compression" in answer_of(port, ours)  # Dask's own greeting


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
        answer = httpx.get(f"http://{host}:{port}/api/v1/dispatches", trust_env=False, timeout=60)
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
