"""Who is at the other end of a socket of this machine, and whether they have said something."""

from __future__ import annotations

import os
import select
import socket
import struct


def is_ours(sock: socket.socket) -> bool:
    """Whether the same user listens there, as far as the system says.

    Only Linux does (`SO_PEERCRED`, see unix(7)); elsewhere it is the folder's mode that counts.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", found)
    return user == os.geteuid()


def has_said(sock: socket.socket, timeout: float | None = None) -> bool:
    """Whether something can be read there, or its end, within so many seconds.

    `select.select` refuses the sockets of a program that has more than 1024 files open.
    """
    looks = select.poll()
    looks.register(sock, select.POLLIN)
    return bool(looks.poll(None if timeout is None else 1000 * timeout))
