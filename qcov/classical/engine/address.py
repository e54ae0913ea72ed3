"""Which engine a verb goes to: the one of this data folder, or a server."""

from __future__ import annotations

import contextlib
import time
import uuid
from functools import cache
from typing import Any, Protocol

from qcov.classical.engine import client
from qcov.classical.engine.channel import Message
from qcov.classical.manifest import spill, variables
from qcov.config import check_config, data_dir, get_config
from qcov.errors import ConnectionLost
from qcov.store.blobs import Payloads, open_payloads


class Engine(Protocol):
    """An engine as the user's verbs see it."""

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    def call(self, verb: str, **arguments: Any) -> Any:
        """Ask it; its errors are raised here."""
        ...

    def submit(self, manifest: Message) -> str:
        """Hand a dispatch over; return its id."""
        ...

    def start(self, dispatch_id: str) -> str:
        """Start a dispatch that was only stored; return its id."""
        ...

    def rerun(self, dispatch_id: str, trigger_id: str | None = None) -> str:
        """Start a dispatch that was only stored, or run it once more; return the new one's id."""
        ...

    def register_trigger(self, described: Message) -> str:
        """Let a trigger watch; return its id."""
        ...

    def wait(
        self, dispatch_id: str, inside: tuple[str, int] | None, timeout: float | None = None
    ) -> str:
        """Return a dispatch's status when it has ended, or after `timeout` seconds."""
        ...

    def progress(self, dispatch_id: str, after: int, inside: tuple[str, int] | None) -> Message:
        """How far a dispatch is, once something has happened since event `after`."""
        ...

    def blob(self, digest: str) -> bytes:
        """The bytes of a large payload."""
        ...


class LocalEngine:
    """The engine of the configured data folder."""

    @property
    def name(self) -> str:
        """The data folder."""
        return str(data_dir())

    def call(self, verb: str, **arguments: Any) -> Any:
        """Ask it; it is started if it does not run."""
        return client.call(verb, **arguments)

    def submit(self, manifest: Message) -> str:
        """Hand a dispatch over; its large payloads go straight to where the store has them."""
        if not data_dir().is_dir():
            client.call("ping")  # the engine makes and checks it
        sent = spill(manifest, _payloads().write)
        return client.call("submit", manifest={**sent, "variables": variables()})

    def start(self, dispatch_id: str) -> str:
        """Start a dispatch that was only stored, with this program's environment variables."""
        return client.call("start", dispatch_id=dispatch_id, variables=variables())

    def rerun(self, dispatch_id: str, trigger_id: str | None = None) -> str:
        """Run a dispatch, or run it once more, with this program's environment variables."""
        return client.call(
            "rerun",
            dispatch_id=dispatch_id,
            new_id=str(uuid.uuid4()),
            variables=variables(),
            trigger_id=trigger_id,
        )

    def register_trigger(self, described: Message) -> str:
        """Let a trigger watch, with this program's environment variables."""
        sent = {**described, "variables": variables()}
        return client.call("register_trigger", described=sent)

    def wait(
        self, dispatch_id: str, inside: tuple[str, int] | None, timeout: float | None = None
    ) -> str:
        """Wait on the socket; an engine that starts anew does not start the time anew."""
        if timeout is None:
            return client.call("wait", dispatch_id=dispatch_id, inside=inside)
        deadline = time.monotonic() + timeout
        for _ in range(client.TRIES - 1):
            with contextlib.suppress(ConnectionLost):
                return self._wait_until(deadline, dispatch_id, inside)
        return self._wait_until(deadline, dispatch_id, inside)

    def _wait_until(self, deadline: float, dispatch_id: str, inside: tuple[str, int] | None) -> str:
        left = max(0.0, deadline - time.monotonic())
        return client.call_once("wait", dispatch_id=dispatch_id, inside=inside, timeout=left)

    def progress(self, dispatch_id: str, after: int, inside: tuple[str, int] | None) -> Message:
        """Wait on the socket for the next event."""
        return client.call("progress", dispatch_id=dispatch_id, after=after, inside=inside)

    def blob(self, digest: str) -> bytes:
        """Read it from where the store has it."""
        return _payloads().read(digest)


def _payloads() -> Payloads:
    return _payloads_at(get_config("workflow_data.base_dir"))


@cache
def _payloads_at(location: str) -> Payloads:
    return open_payloads(location)  # a connection is kept


def engine_at(address: str | None) -> Engine:
    """The engine for `dispatcher_addr`; settings that are wrong are reported first."""
    check_config()
    if address is None:
        return LocalEngine()
    from qcov.classical.engine.remote import RemoteEngine

    return RemoteEngine(address)
