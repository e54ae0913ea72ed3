"""The application: REST under `/api/v1`, pages everywhere else, the guard in front of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

import qcov
from qcov.settings import LOOPBACK
from qcov_server import api, problems, ui
from qcov_server.api.description import describe
from qcov_server.api.exports import ReadersExports
from qcov_server.auth import LoginCodes, Sessions
from qcov_server.bounds import Bounds
from qcov_server.counts import Counts
from qcov_server.engine import Engine
from qcov_server.guard import Guard
from qcov_server.streams import Streams
from qcov_server.tokens import Tokens

_LOOPBACK = tuple(f"[{host}]" if ":" in host else host for host in LOOPBACK)


def create_app(
    engine: Engine,
    *,
    tokens: Tokens,
    port: int,
    hosts: Iterable[str] = (),
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The application for one engine.

    Args:
        engine: what it shows and steers; its methods are called in the running event loop.
        tokens: with which programs and people come in.
        port: where it is reached; Host headers must name it.
        hosts: names under which it is reached besides those of the loopback interface; without
            the port too, which a proxy in front of it has of its own.
        clock: the time in seconds, for logins.
    """
    app = FastAPI(
        title="qcov", version=qcov.__version__, docs_url=None, redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )  # fmt: skip
    sessions = Sessions(tokens, port, clock)
    app.state.engine = engine
    app.state.streams = Streams(engine)
    app.state.counts = Counts()
    app.state.readers_exports = ReadersExports()
    app.state.sessions = sessions
    app.state.tokens = tokens
    app.state.login_codes = LoginCodes(clock)
    problems.install(app)
    app.include_router(api.router)
    app.include_router(ui.router)
    describe(app)
    app.mount("/static", StaticFiles(directory=Path(ui.__file__).parent / "static"), name="static")
    names = {f"{host}:{port}" for host in (*_LOOPBACK, *hosts)} | {*hosts}
    app.add_middleware(
        Guard, tokens=tokens, sessions=sessions, bounds=Bounds(engine), hosts=names,
        routes=app.routes,
    )  # fmt: skip
    return app
