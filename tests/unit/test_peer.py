"""What is asked of the sockets of this machine."""

from __future__ import annotations

import fcntl
import resource
import socket
from collections.abc import Iterator

import pytest

from qcov import peer


@pytest.fixture
def numbered() -> Iterator[int]:
    """A number that `select.select` refuses, and that this process may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 1200), before[1]))
    yield 1100
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


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
