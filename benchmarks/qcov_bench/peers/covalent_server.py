"""Covalent: its server without Dask, electrons in the server's processes.

0.240 cannot dispatch with today's versions of what it needs; with those of mid-2025 it can.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


_COMMAND = str(Path(sys.executable).with_name("covalent"))
_PORT = _free_port()
os.environ["COVALENT_CONFIG_DIR"] = str(Path.cwd() / "covalent")

import covalent as ct  # noqa: E402


@ct.electron(executor="local")
def noop(value: int) -> int:
    """Return the argument."""
    return value


@ct.electron(executor="local")
def following(value: int) -> int:
    """Return the next number."""
    return value + 1


@ct.lattice(executor="local", workflow_executor="local")
def fan(count: int) -> list[int]:
    """Electrons that do not need each other."""
    return [noop(value) for value in range(count)]


@ct.lattice(executor="local", workflow_executor="local")
def chain(links: int) -> int:
    """Electrons that do."""
    value = 0
    for _ in range(links):
        value = following(value)
    return value


@contextmanager
def opened() -> Iterator[dict[str, Callable[[int], object]]]:
    """The server, and what it can be asked for."""
    subprocess.run([_COMMAND, "start", "--no-cluster", "-p", str(_PORT)], check=True)
    ct.set_config("dispatcher.port", _PORT)  # asked for the result, whatever else is said
    try:
        yield {
            "fan": lambda count: ct.dispatch_sync(fan)(count).result,
            "chain": lambda links: ct.dispatch_sync(chain)(links).result,
        }
    finally:
        subprocess.run([_COMMAND, "stop"], check=False)
