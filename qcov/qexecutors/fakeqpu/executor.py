"""`FakeQPU` runs circuits on a provider that is not one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PrivateAttr

from qcov.credentials import Credential
from qcov.errors import InvalidSetting
from qcov.qexecutors.fakeqpu.conditions import Conditions
from qcov.qexecutors.fakeqpu.provider import FakeProvider
from qcov.qexecutors.fakeqpu.server import FakeServer
from qcov.qexecutors.remote import RemoteQExecutor
from qcov.records import process_id


class OwnServer:
    """A provider of an executor's own. Copies, pickles and forked children start their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: FakeServer | None = None
        self._process = process_id()

    def get(self, conditions: Mapping[str, Any]) -> FakeServer:
        """The provider, started the first time."""
        with self._lock:
            if self._server is None or self._process != process_id():
                self._server = FakeServer(Conditions.made_of(conditions))
                self._process = process_id()
                weakref.finalize(self, self._server.close).atexit = False
            return self._server

    def __reduce__(self) -> tuple[type[OwnServer], tuple[()]]:
        return OwnServer, ()

    def __copy__(self) -> OwnServer:
        return OwnServer()

    def __deepcopy__(self, _memo: object) -> OwnServer:
        return OwnServer()


class FakeQPU(RemoteQExecutor):
    """Runs circuits on a fake provider, over HTTP on this machine: to try out what real ones do.

    It queues, takes its time, is noisy, breaks and costs as it is told. Without a `url`, each
    process that uses the executor has a provider of its own, which ends with it; one that processes
    share, and that outlives them, is started by `qcov fakeqpu`.

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

    def __init__(self, **settings: Any) -> None:
        settings = self.configured(settings)
        fields = type(self).model_fields.keys() | {"type"}
        own = {name: value for name, value in settings.items() if name in fields}
        direct = {name: value for name, value in settings.items() if name not in fields}
        own["conditions"] = {**settings.get("conditions", {}), **direct}
        if own["conditions"]:
            Conditions.made_of(own["conditions"])
            if own.get("url") is not None:
                reason = f"is for a provider of its own, not for one at {own['url']}"
                raise InvalidSetting(
                    executor=type(self).__name__,
                    setting=min(own["conditions"]),
                    reason=reason,
                )
        super().__init__(**own)

    @property
    def server(self) -> FakeServer:
        """Its own provider in this process, started on first use.

        Raises:
            InvalidSetting: It uses another one, at its `url`.
        """
        if self.url is not None:
            reason = "has the provider that the executor uses"
            raise InvalidSetting(executor=type(self).__name__, setting=self.url, reason=reason)
        return self._own.get(self.conditions)

    def _connect(self) -> FakeProvider:
        url = self.url or self.server.url
        return FakeProvider(url, self._secret, self.name)

    def _secret(self) -> str | None:
        return None if self.token is None else self.token.reveal()
