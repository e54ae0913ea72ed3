"""Ports for servers that have to be told theirs before they begin."""

from __future__ import annotations

import random
import socket

_FIRST, _LAST = 20_000, 32_000  # below those that a system gives to whoever asks for any


def free_port() -> int:
    """A port of the loopback interface that nobody listens at; who asks for any gets another."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.SystemRandom().randint(_FIRST, _LAST)))
            except OSError:
                continue
            return int(probe.getsockname()[1])
