"""`fakeqpu`: a provider of a quantum computer that is not one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer

from qcov.cli.output import fail, say


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command()(fakeqpu)


def fakeqpu(
    conditions: list[str] = typer.Argument(
        None, metavar="[NAME=VALUE ...]", help="What it is like: queue_time=2 fail=0.1 ..."
    ),
    port: int = typer.Option(0, "--port", "-p", min=0, max=65535, help="0 takes a free one."),
    token: str | None = typer.Option(
        None, "--token", help="What requests must carry: env:NAME or file:PATH."
    ),
    as_json: bool = typer.Option(False, "--json", help="As JSON, a line each."),
) -> None:
    """Run a fake provider on this machine until Ctrl-C, for `ct.executor.FakeQPU(url=...)`."""
    from qcov.credentials import Credential
    from qcov.qexecutors.fakeqpu.conditions import Conditions
    from qcov.qexecutors.fakeqpu.server import FakeServer

    made = Conditions.made_of(dict(map(_setting, conditions or ())))
    secret = "" if token is None else Credential(token).reveal()
    with _held_back({signal.SIGINT, signal.SIGTERM}) as awaited:
        try:
            server = FakeServer(made, port=port, token=secret)
        except OSError as error:
            fail(f"cannot listen on port {port}: {error.strerror}")
        if as_json:
            say(json.dumps({"url": server.url, "pid": os.getpid()}))
        else:
            say(f"A fake provider runs at {server.url}")
            say(f"ct.executor.FakeQPU(url={server.url!r})")
        signal.sigwait(awaited)
        server.close()
        say(json.dumps(server.jobs.ledger()))


@contextmanager
def _held_back(signals: set[signal.Signals]) -> Generator[set[signal.Signals]]:
    """Keep signals for who waits for them, in the threads that are started meanwhile as well."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        fail(f"{text!r} is no NAME=VALUE", code=2)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
