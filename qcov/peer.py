"""Who is at the other end of a socket of this machine."""

from __future__ import annotations

import os
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
