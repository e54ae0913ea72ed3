"""An engine behind a server's REST interface."""

from __future__ import annotations

import atexit
import base64
import functools
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx

from qcov.classical.engine.channel import Message, unpack_error
from qcov.config import data_dir
from qcov.errors import EngineError, EngineUnavailable, QcovError, WrongSetting

_PAGE = 1000
_POLL = 30.0  # seconds that the server may hold a request while it waits
_IDLE = 2.0  # seconds that an unused connection is kept; servers keep them for 5
_PROBLEM = "urn:qcov:error:"


class RemoteEngine:
    """The engine of a server.

    The token is the variable `QCOV_TOKEN`, or that of this user's own server.

    Args:
        address: `host:port` or a URL.
        clock: Seconds that only grow, for time limits.
    """

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        url = address if "://" in address else f"http://{address}"
        _check_url(address, url)
        self.name = url.rstrip("/")
        self._clock = clock
        self._http = _connections(self.name, _token(), os.getpid())

    def submit(self, manifest: Message) -> str:
        """Hand a dispatch over, its blobs as base64."""
        blobs = {
            digest: base64.b64encode(data).decode() for digest, data in manifest["blobs"].items()
        }
        return self._post("/dispatches", {**manifest, "blobs": blobs})["id"]

    def start(self, dispatch_id: str) -> str:
        """Start a dispatch that was only stored."""
        return self._post(f"/dispatches/{dispatch_id}/start", {})["id"]

    def rerun(
        self,
        dispatch_id: str,
        trigger_id: str | None = None,
        *,
        reuse: bool = False,
        watching: bool = False,
    ) -> str:
        """Start a dispatch that was only stored, or run it once more."""
        how = {"trigger_id": trigger_id, "reuse": reuse, "watching": watching}
        asked = {"new_id": str(uuid.uuid4()), **how}
        return self._post(f"/dispatches/{dispatch_id}/rerun", asked)["id"]

    def register_trigger(self, described: Message) -> str:
        """Let a trigger watch on the server."""
        blob = base64.b64encode(described["object"]).decode()
        return self._post("/triggers", {**described, "object": blob})["id"]

    def run(self, manifest: Message, inside: tuple[str, int] | None) -> Message:
        """Hand a dispatch over and wait."""
        return self.outcome(self.submit(manifest), inside)

    def outcome(
        self,
        dispatch_id: str,
        inside: tuple[str, int] | None,  # noqa: ARG002
        timeout: float | None = None,
    ) -> Message:
        """Hold one request after the other until the dispatch has ended, or the time is over.

        The result is fetched when it is read.
        """
        deadline = self._clock() + (math.inf if timeout is None else timeout)
        while True:
            left = max(deadline - self._clock(), 0)
            path = f"/dispatches/{dispatch_id}/wait"
            state = self._get(path, timeout=min(left, _POLL), whole=True)
            if state["finished"] or left <= _POLL:
                return {"dispatch": state["dispatch"], "result": None}

    def progress(
        self,
        dispatch_id: str,
        after: int,
        inside: tuple[str, int] | None,  # noqa: ARG002
    ) -> Message:
        """Hold a request until something has happened."""
        return self._get(f"/dispatches/{dispatch_id}/progress", after=after)

    def blob(self, digest: str) -> bytes:
        """Payloads come whole over HTTP: this is never needed."""
        raise EngineError(f"{self.name} sent no data for blob {digest}")

    def call(self, verb: str, **arguments: Any) -> Any:
        """Ask the server what `verb` asks an engine."""
        return getattr(self, f"_ask_{verb}")(**arguments)

    # -- verbs

    def _ask_dispatch(self, dispatch_id: str) -> Message:
        return self._get(f"/dispatches/{dispatch_id}")

    def _ask_triggers(self, **window: Any) -> Message:
        only = {name: value for name, value in window.items() if value is not None}
        page = self._get("/triggers", **only)
        return {"triggers": page["items"], "total": page["total"]}

    def _ask_trigger_runs(self, trigger_id: str) -> list[Message]:
        return list(self._pages(f"/triggers/{trigger_id}/runs"))

    def _ask_note_fired(self, trigger_id: str, dispatch_id: str) -> None:
        self._send("POST", f"/triggers/{trigger_id}/fired", json={"id": dispatch_id})

    def _ask_stop_triggers(self, dispatch_ids: list[str]) -> None:
        self._send("POST", "/triggers/stop", json={"dispatch_ids": dispatch_ids})

    def _ask_dispatches(self, **window: Any) -> Message:
        only = {name: value for name, value in window.items() if value is not None}
        only.pop("root_only", None)  # what the server does where nothing is searched for
        page = self._get("/dispatches", **only)
        return {"dispatches": page["items"], "total": page["total"]}

    def _ask_nodes(
        self, dispatch_id: str, node_id: int | None = None, limit: int | None = None
    ) -> list[Message]:
        path = f"/dispatches/{dispatch_id}/nodes"
        if limit is not None:
            return self._get(path, limit=limit)["items"]
        if node_id is not None:
            return self._get(path, node_id=node_id)["items"]
        return list(self._pages(path))

    def _ask_circuits(self, dispatch_id: str, node_id: int | None = None) -> list[Message]:
        only = {} if node_id is None else {"node_id": node_id}
        return list(self._pages(f"/dispatches/{dispatch_id}/circuits", **only))

    def _ask_circuit_summary(self, dispatch_id: str) -> list[Message]:
        return cast("list[Message]", self._get(f"/dispatches/{dispatch_id}/circuits/summary"))

    def _ask_cancel(self, dispatch_id: str, node_ids: list[int] | None) -> str:
        return self._post(f"/dispatches/{dispatch_id}/cancel", {"node_ids": node_ids})["outcome"]

    def _ask_payload(self, dispatch_id: str, of: str | int) -> Message | None:
        response = self._send("GET", f"/dispatches/{dispatch_id}/payloads/{of}")
        if response.status_code == int(httpx.codes.NO_CONTENT):
            return None
        return {"digest": response.headers["etag"].strip('"'), "data": response.content}

    # -- HTTP

    def _pages(self, path: str, **filters: Any) -> Iterator[Message]:
        offset = 0
        while True:
            items = self._get(path, limit=_PAGE, offset=offset, **filters)["items"]
            yield from items
            if len(items) < _PAGE:
                return
            offset += _PAGE

    def _get(self, path: str, **query: Any) -> Message:
        return self._send("GET", path, params=query).json()

    def _post(self, path: str, body: Message) -> Message:
        return self._send("POST", path, json=body).json()

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise EngineUnavailable(
                address=self.name,
                reason=str(error),
                advice="Is the server running there? `qcov start` starts one.",
            ) from error
        if response.is_error:
            raise _problem(response, self.name)
        return response


def _check_url(address: str, url: str) -> None:
    try:
        reason = "" if httpx.URL(url).host else " (it has no host)"
    except httpx.InvalidURL as error:
        reason = f" ({error})"
    if reason:
        expected = "text such as 'localhost:48008' or 'https://host'"
        got = f"{address!r}{reason}"
        raise WrongSetting(setting="the address of a server", got=got, expected=expected)


@functools.lru_cache(maxsize=16)
def _connections(url: str, token: str, _pid: int) -> httpx.Client:
    """What keeps the connections to a server, for all threads of this process."""
    client = httpx.Client(
        base_url=f"{url}/api/v1",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(60.0, connect=10.0),
        # any number of threads may wait; an idle connection is left before the server leaves it
        limits=httpx.Limits(max_connections=None, keepalive_expiry=_IDLE),
        trust_env=False,  # a proxy is not asked for what is on this machine
        verify=httpx.URL(url).scheme != "http",  # reading the certificates takes 20 ms
    )
    atexit.register(client.close)
    return client


def _problem(response: httpx.Response, address: str) -> QcovError:
    """The error that a problem document (RFC 9457) describes."""
    try:
        document = response.json()
        kind, detail = str(document["type"]), str(document["detail"])
    except (json.JSONDecodeError, KeyError, TypeError):
        kind, detail = "", response.text[:200]
    if response.status_code == int(httpx.codes.UNAUTHORIZED):
        advice = "Set QCOV_TOKEN to its token: the file server.token in its data folder."
        return EngineUnavailable(address=address, reason="it refused the token", advice=advice)
    if kind.startswith(_PROBLEM):
        name = kind.removeprefix(_PROBLEM)
        return unpack_error({"type": name, "message": detail, "about": {}})
    return EngineError(f"{address} answered {response.status_code}: {detail}")


def _token() -> str:
    if given := os.environ.get("QCOV_TOKEN"):
        return given
    try:
        return (data_dir() / "server.token").read_text(encoding="ascii").strip()
    except OSError:
        return ""
