"""Serving inside a running event loop: the engine's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Generator, Iterable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from qcov.errors import ConfigError, PortInUse
from qcov.settings import LOOPBACK, SETTINGS
from qcov_server.app import create_app
from qcov_server.auth import Sessions
from qcov_server.connections import Connection, Connections
from qcov_server.engine import Engine
from qcov_server.guard import LOGIN_PATH
from qcov_server.tokens import Tokens

_ADDRESS = "dispatcher.address"

#: Where this machine reaches a server that listens on all of its addresses.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class HttpServer:
    """A server that runs as a task of the event loop that made it."""

    def __init__(self, server: uvicorn.Server, app: FastAPI, listener: socket.socket) -> None:
        self._server = server
        self._app = app
        self._task = asyncio.create_task(server.serve(sockets=[listener]), name="qcov-http")
        address, port = listener.getsockname()[:2]
        host = _REACHED_AT.get(address) or str(address)
        #: Always a number, never `localhost`: a name may lead a browser, with its login code, to
        #: another program that listens on the other family of addresses.
        self.url = f"http://{_in_url(host)}:{port}"

    def login_link(self) -> str:
        """A link that lets one browser in, once."""
        return f"{self.url}{LOGIN_PATH}?code={self._app.state.login_codes.make()}"

    @property
    def sessions(self) -> Sessions:
        """The sessions of its browsers."""
        return self._app.state.sessions

    async def stop(self) -> None:
        """Answer what was asked, close the event streams and the port."""
        self._server.should_exit = True
        await self._task


class _Server(uvicorn.Server):
    """Signals are the engine's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Connections.allowed()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def start(
    engine: Engine,
    folder: Path,
    *,
    host: str,
    port: int,
    exposed: bool = False,
    names: Iterable[str] = (),
) -> HttpServer:
    """Start to serve an engine in the running event loop.

    Args:
        engine: what to serve.
        folder: the data folder, where the tokens live.
        host: a loopback address; others are refused, because nothing encrypts what they carry.
        port: 0 takes a free one.
        exposed: other addresses of this machine, as numbers, may be served as well.
        names: under which the server is reached besides its address, by a proxy for instance.

    Raises:
        PortInUse: another program has the port.
        ConfigError: the host cannot be served.
    """
    listener = listen(host, port, exposed=exposed)
    address, chosen = listener.getsockname()[:2]
    tokens = Tokens(folder)
    tokens.owner()  # programs look for the file as soon as there is a server
    hosts = [*names, *(() if address in LOOPBACK.values() else _known_as(address))]
    app = create_app(engine, tokens=tokens, port=chosen, hosts=hosts)
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=2, ws="none", http=Connection,
    )  # fmt: skip
    return HttpServer(_Server(config), app, listener)


def listen(host: str, port: int, *, exposed: bool = False) -> socket.socket:
    """A listening socket; arguments and errors are those of `start`."""
    address = _address(host) if exposed else _loopback(host)
    try:
        listener = socket.create_server((address, port), family=_family(address), backlog=512)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUse(host=host, port=port) from error
        if error.errno == errno.EADDRNOTAVAIL:
            reason = f"is {host!r}, which is no address of this machine."
            raise ConfigError(key="--host", reason=reason, source="qcov start") from error
        raise
    # Or an answer's body waits 40 ms until its head is acknowledged. asyncio sees to that only for
    # sockets that say they are TCP, which those of `create_server` do not; connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _loopback(host: str) -> str:
    try:
        return LOOPBACK[SETTINGS[_ADDRESS].read(host)]
    except ValueError as error:
        raise ConfigError(key=_ADDRESS, reason=f"{error}.", source="qcov start") from error


def _address(host: str) -> str:
    """An address as a number: a name may have several, and may change them."""
    try:
        return LOOPBACK.get(host) or str(ipaddress.ip_address(host))
    except ValueError as error:
        reason = f"is {host!r}: give an address of this machine as a number, such as 192.168.1.7."
        raise ConfigError(key="--host", reason=reason, source="qcov start") from error


def _known_as(address: str) -> set[str]:
    """What the Host header may say: the address, or with all addresses, those of this machine."""
    if address not in _REACHED_AT:
        return {_in_url(address)}
    name = socket.gethostname()
    found = {name.lower(), socket.getfqdn().lower()}
    with contextlib.suppress(OSError):
        found |= {_in_url(str(place[4][0])) for place in socket.getaddrinfo(name, None)}
    return found


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
