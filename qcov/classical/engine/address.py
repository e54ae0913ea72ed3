"""Which engine a verb goes to: the one of this data folder, or a server."""

from __future__ import annotations

import contextlib
import time
import uuid
from functools import cache, partial
from typing import Any, Protocol, cast

from qcov.classical.engine import client
from qcov.classical.engine.channel import Message
from qcov.classical.manifest import variables
from qcov.config import check_config, data_dir, get_config
from qcov.errors import ConnectionLost, WrongSetting
from qcov.store.blobs import Payloads, open_payloads, spill


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

    def rerun(
        self,
        dispatch_id: str,
        trigger_id: str | None = None,
        *,
        reuse: bool = False,
        watching: bool = False,
    ) -> str:
        """Start a dispatch that was only stored, or run it once more; return the new one's id.

        With `reuse`, the new one takes over what has been computed. A trigger says whether it is
        `watching`, or was fired by hand.
        """
        ...

    def register_trigger(self, described: Message) -> str:
        """Let a trigger watch; return its id."""
        ...

    def run(self, manifest: Message, inside: tuple[str, int] | None) -> Message:
        """Hand a dispatch over; return what `outcome` does when it has ended."""
        ...

    def outcome(
        self, dispatch_id: str, inside: tuple[str, int] | None, timeout: float | None = None
    ) -> Message:
        """Wait until a dispatch has ended, or for `timeout` seconds.

        Returns:
            `dispatch`, all about it, and `result`, its payload, if that is small and at hand.
        """
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
        return _ask_anew("submit", manifest=self._sent(manifest))

    def run(self, manifest: Message, inside: tuple[str, int] | None) -> Message:
        """Hand a dispatch over and wait, in one question."""
        return _ask_anew("run", manifest=self._sent(manifest), inside=inside)

    def _sent(self, manifest: Message) -> Message:
        if not data_dir().is_dir():
            client.call("ping")  # the engine makes and checks it
        sent = spill(manifest, _payloads().write)
        return {**sent, "variables": variables()}

    def start(self, dispatch_id: str) -> str:
        """Start a dispatch that was only stored, with this program's environment variables."""
        return client.call("start", dispatch_id=dispatch_id, variables=variables())

    def rerun(
        self,
        dispatch_id: str,
        trigger_id: str | None = None,
        *,
        reuse: bool = False,
        watching: bool = False,
    ) -> str:
        """Run a dispatch, or run it once more, with this program's environment variables."""
        return client.call(
            "rerun",
            dispatch_id=dispatch_id,
            new_id=str(uuid.uuid4()),
            variables=variables(),
            trigger_id=trigger_id,
            reuse=reuse,
            watching=watching,
        )

    def register_trigger(self, described: Message) -> str:
        """Let a trigger watch, with this program's environment variables."""
        sent = {**described, "variables": variables()}
        return client.call("register_trigger", described=sent)

    def outcome(
        self, dispatch_id: str, inside: tuple[str, int] | None, timeout: float | None = None
    ) -> Message:
        """Wait on the socket; an engine that starts anew does not start the time anew."""
        ask = partial(client.call_once, "outcome", dispatch_id=dispatch_id, inside=inside)
        if timeout is None:
            return client.call("outcome", dispatch_id=dispatch_id, inside=inside)
        deadline = time.monotonic() + timeout
        for _ in range(client.TRIES - 1):
            with contextlib.suppress(ConnectionLost):
                return ask(timeout=_left(deadline))
        return ask(timeout=_left(deadline))

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


def _ask_anew(verb: str, **arguments: Any) -> Any:
    """Ask for what nobody has asked for yet; after an engine broke, it may have been."""
    with contextlib.suppress(ConnectionLost):
        return client.call_once(verb, **arguments, first=True)
    return client.call(verb, **arguments)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def engine_at(address: str | None) -> Engine:
    """The engine for `dispatcher_addr`; settings that are wrong are reported first."""
    check_config()
    if address is None:
        return LocalEngine()
    if not isinstance(cast("object", address), str):
        raise WrongSetting(
            setting="the address of a server",
            got=repr(address),
            expected="text such as 'localhost:48008' or 'https://host'",
        )
    from qcov.classical.engine.remote import RemoteEngine

    return RemoteEngine(address)
