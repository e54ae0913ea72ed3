"""`FakeQPU` runs circuits on a provider that is not one."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PrivateAttr, field_validator

from qcov.credentials import Credential
from qcov.errors import InvalidSetting
from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.provider import FakeProvider
from qcov.qexecutors.fakeqpu.server import FakeServer
from qcov.qexecutors.remote import RemoteQExecutor
from qcov.records import process_id

_URL = re.compile(r"https?://[^\s/]+(/\S*)?")


class OwnServer:
    """A provider of an executor's own, in the process that made it; pickles and forks lead there.

    Args:
        url: Where it is, if not in this process.
    """

    def __init__(self, url: str | None = None) -> None:
        self._lock = threading.Lock()
        self._server: FakeServer | None = None
        self._process = process_id()
        self._url = url

    def url(self, conditions: Mapping[str, Any]) -> str:
        """Where it is; it is started if nobody has started it."""
        if self._url is None and self._server is not None:
            return self._server.url  # in a forked child too
        return self._url or self.here(conditions).url

    def here(self, conditions: Mapping[str, Any]) -> FakeServer:
        """The provider, started the first time."""
        if self._url is not None or self._process != process_id():
            reason = "is in another process"
            raise InvalidSetting(executor="FakeQPU", setting="its provider", reason=reason)
        with self._lock:
            if self._server is None:
                self._server = FakeServer(Conditions.made_of(conditions))
                weakref.finalize(self, self._server.close).atexit = False
            return self._server

    def __reduce__(self) -> tuple[type[OwnServer], tuple[str | None]]:
        return OwnServer, (self._url if self._server is None else self._server.url,)

    def __copy__(self) -> OwnServer:
        return OwnServer()

    def __deepcopy__(self, _memo: object) -> OwnServer:
        return OwnServer()


class FakeQPU(RemoteQExecutor):
    """Runs circuits on a fake provider, over HTTP on this machine: to try out what real ones do.

    It queues, takes its time, is noisy, breaks and costs as it is told. Without a `url`, it has a
    provider of its own in the process that made it, which ends with that; workers reach it there.
    One that outlives programs is started by `qcov fakeqpu`.

    Args:
        url: Where the provider is.
        token: What the provider at `url` wants; see `qcov.Credential`.
        conditions: What a provider of its own is like; they may also be given directly. See
            `qcov.qexecutors.fakeqpu.conditions.Conditions` for all of them.

    Example:
        >>> import pennylane as qml
        >>> from qcov.quantum.qelectron import qelectron
        >>> @qelectron(executors=FakeQPU(queue_time=0.1, usd_per_task=1.0, seed=1))
        ... @qml.set_shots(100)
        ... @qml.qnode(qml.device("default.qubit", wires=1))
        ... def flip():
        ...     qml.X(0)
        ...     return qml.expval(qml.Z(0))
        >>> float(flip())
        -1.0
    """

    poll_interval: float = 0.2
    url: str | None = None
    token: Credential | None = None
    conditions: dict[str, Any] = Field(default_factory=dict[str, Any])

    _own: OwnServer = PrivateAttr(default_factory=OwnServer)

    @classmethod
    def as_fields(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as fields: conditions that were given directly are put together."""
        own = super().as_fields(settings)
        direct = {name: own.pop(name) for name in own.keys() - cls.model_fields.keys()}
        conditions = {**own.get("conditions", {}), **direct}
        if conditions:
            Conditions.made_of(conditions, cls.model_fields)
            if own.get("url") is not None:
                reason = f"is for a provider of its own, not for one at {own['url']}"
                raise InvalidSetting(executor=cls.__name__, setting=min(conditions), reason=reason)
        return {**own, "conditions": conditions}

    @field_validator("url", mode="before")
    @classmethod
    def _is_an_address(cls, url: object) -> str | None:
        if url is None or (isinstance(url, str) and _URL.fullmatch(url)):
            return url
        reason = f"must be an address such as 'http://127.0.0.1:5555', not {url!r}"
        raise InvalidSetting(executor=cls.__name__, setting="url", reason=reason)

    @property
    def server(self) -> FakeServer:
        """Its own provider in this process, started on first use.

        Raises:
            InvalidSetting: It uses another one, at its `url`.
        """
        if self.url is not None:
            reason = "has the provider that the executor uses"
            raise InvalidSetting(executor=type(self).__name__, setting=self.url, reason=reason)
        return self._own.here(self.conditions)

    def __getstate__(self) -> dict[Any, Any]:
        if self.url is None:
            self._own.url(self.conditions)  # so that the pickle leads there
        return super().__getstate__()

    def _connect(self) -> FakeProvider:
        url = self.url or self._own.url(self.conditions)
        return FakeProvider(url, self._secret, self.name)

    def _secret(self) -> str | None:
        return None if self.token is None else self.token.reveal()
