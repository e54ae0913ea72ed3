"""Serving inside a running event loop: the engine's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from qcov.errors import ConfigError, PortInUse
from qcov.settings import LOOPBACK, SETTINGS
from qcov_server.app import create_app
from qcov_server.engine import Engine
from qcov_server.guard import LOGIN_PATH
from qcov_server.tokens import Tokens

_ADDRESS = "dispatcher.address"


class HttpServer:
    """A server that runs as a task of the event loop that made it."""

    def __init__(self, server: uvicorn.Server, app: FastAPI, listener: socket.socket) -> None:
        self._server = server
        self._app = app
        self._task = asyncio.create_task(server.serve(sockets=[listener]), name="qcov-http")
        host, port = listener.getsockname()[:2]
        #: Always a number, never `localhost`: a name may lead a browser, with its login code, to
        #: another program that listens on the other family of addresses.
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def login_link(self) -> str:
        """A link that lets one browser in, once."""
        return f"{self.url}{LOGIN_PATH}?code={self._app.state.login_codes.make()}"

    async def stop(self) -> None:
        """Answer what was asked, close the event streams and the port."""
        self._server.should_exit = True
        await self._task


class _Server(uvicorn.Server):
    """Signals are the engine's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def start(engine: Engine, folder: Path, *, host: str, port: int) -> HttpServer:
    """Start to serve an engine in the running event loop.

    Args:
        engine: what to serve.
        folder: the data folder, where the token lives.
        host: a loopback address; others are refused, because nothing encrypts what they carry.
        port: 0 takes a free one.

    Raises:
        PortInUse: another program has the port.
        ConfigError: the host is not a loopback address.
    """
    listener = listen(host, port)
    chosen = listener.getsockname()[1]
    tokens = Tokens(folder)
    tokens.owner()  # programs look for the file as soon as there is a server
    app = create_app(engine, tokens=tokens, port=chosen)
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=2, ws="none",
    )  # fmt: skip
    return HttpServer(_Server(config), app, listener)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; errors are those of `start`."""
    try:
        address = LOOPBACK[SETTINGS[_ADDRESS].read(host)]
    except ValueError as error:
        raise ConfigError(key=_ADDRESS, reason=f"{error}.", source="qcov start") from error
    try:
        listener = socket.create_server((address, port), family=_family(address), backlog=512)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUse(host=host, port=port) from error
        raise
    # Or an answer's body waits 40 ms until its head is acknowledged. asyncio sees to that only for
    # sockets that say they are TCP, which those of `create_server` do not; connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
