"""What is asked of the sockets of this machine."""

from __future__ import annotations

import fcntl
import resource
import socket

import pytest

from qcov import peer


@pytest.fixture
def numbered() -> int:
    """A number that `select.select` refuses, and that this process may have."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 1100:
        pytest.skip("this process may not have 1100 files open; `ulimit -n 4096` lets it")
    return 1100


def test_what_is_said_is_seen_however_many_files_are_open(numbered: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        far = socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD, numbered))
        with far:
            assert far.fileno() >= numbered
            assert not peer.has_said(far, 0)
            theirs.send(b"word")
            assert peer.has_said(far)
            far.recv(4)
            assert not peer.has_said(far, 0.01)
            theirs.close()
            assert peer.has_said(far)  # its end
