"""An engine that keeps everything in memory, its server, and a client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from qcov.classical.engine.breakers import Breakers
from qcov.classical.engine.events import Events
from qcov.classical.status import Status
from qcov.errors import DeletionRefused, DispatchNotFound, QcovError
from qcov_server.serving import HttpServer, start
from qcov_server.tokens import Tokens

T = TypeVar("T")


class MemoryStore:
    """What `qcov_server.engine.Store` asks for."""

    def __init__(self) -> None:
        self.dispatches: list[dict[str, Any]] = []
        self.nodes: dict[str, list[dict[str, Any]]] = {}
        self.edges: dict[str, list[tuple[int, int, str]]] = {}
        self.circuits: dict[str, list[dict[str, Any]]] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.costs: list[dict[str, Any]] = []
        self.triggers: dict[str, list[dict[str, Any]]] = {}
        self.asked: dict[str, Any] = {}  #: what the last list was asked for

    def add(
        self,
        dispatch_id: str,
        nodes: Sequence[Mapping[str, Any]] = (),
        edges: Sequence[tuple[int, int, str]] = (),
        **columns: Any,
    ) -> None:
        """One more dispatch, the newest."""
        done = sum(node.get("status") == "COMPLETED" for node in nodes)
        row = {
            "id": dispatch_id, "name": "workflow", "status": "COMPLETED", "parent_id": None,
            "root_id": dispatch_id, "inputs_repr": '{"args": [], "kwargs": {}}',
            "created": 1000.0, "started": 1000.0, "ended": 1002.5, "error": None,
            "result_repr": None, "nodes_total": len(nodes), "nodes_done": done,
        }  # fmt: skip
        self.dispatches.insert(0, row | columns)
        default = {
            "kind": "electron", "status": "PENDING", "executor": "local", "attempt": 1,
            "started": None, "ended": None, "error": None, "value_repr": None, "stdout": None,
            "stderr": None, "sub_dispatch_id": None, "reused_from": None, "output": None,
        }  # fmt: skip
        self.nodes[dispatch_id] = [
            {**default, "node_id": number, "name": f"task {number}", **node}
            for number, node in enumerate(nodes)
        ]
        self.edges[dispatch_id] = list(edges)

    def list_dispatches(
        self, *, limit: int = 50, offset: int = 0, status: str | Sequence[str] | None = None,
        search: str | None = None, root_only: bool = True, created_after: float | None = None,
        created_before: float | None = None, sort: str = "-created", name: str | None = None,
        triggered: bool | None = None,
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        self.asked = {"after": created_after, "before": created_before, "sort": sort}
        found = [
            row
            for row in self.dispatches
            if (not status or row["status"] in status)
            and (not search or search in row["name"] or row["id"].startswith(search))
            and (not root_only or row["parent_id"] is None)
            and name in (None, row["name"])
            and triggered in (None, row.get("triggered", False))
        ]
        return found[offset : offset + limit], len(found)

    def get_dispatch(self, dispatch_id: str) -> dict[str, Any]:
        for row in self.dispatches:
            if row["id"] == dispatch_id:
                return row
        raise DispatchNotFound(dispatch_id=dispatch_id, where="memory")

    def get_nodes(
        self, dispatch_id: str, *, limit: int | None = None, offset: int = 0,
        node_id: int | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        nodes = self.nodes[dispatch_id]
        if node_id is not None:
            return [node for node in nodes if node["node_id"] == node_id]
        return nodes[offset : None if limit is None else offset + limit]

    def list_nodes(
        self, dispatch_id: str, *, limit: int = 100, offset: int = 0,
        status: str | Sequence[str] | None = None, kind: str | None = None,
        search: str | None = None, sort: str = "node_id",
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        self.asked = {"sort": sort}
        found = [
            node
            for node in self.nodes[dispatch_id]
            if (not status or node["status"] in status)
            and (not search or search in node["name"])
            and kind in (None, node["kind"])
        ]
        return found[offset : offset + limit], len(found)

    def get_edges(self, dispatch_id: str) -> list[tuple[int, int, str]]:
        return self.edges[dispatch_id]

    def environment(self, dispatch_id: str) -> dict[str, Any] | None:
        return self.manifests.get(dispatch_id, {}).get("noted")

    def get_attempts(self, dispatch_id: str, node_id: int) -> list[dict[str, Any]]:
        return []

    def some_nodes(self, dispatch_id: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
        return [node for node in self.nodes[dispatch_id] if node["node_id"] in numbers]

    def blob_size(self, digest: str) -> int | None:
        return None

    def count_circuits(self, *_: Any, **__: Any) -> int:
        return 0

    def manifest(self, dispatch_id: str) -> dict[str, Any]:
        nodes = [{"id": node["node_id"]} for node in self.nodes[dispatch_id]]
        graph = {"nodes": nodes, "edges": self.edges[dispatch_id]}
        return {"source": "", "environment": {}, **graph} | self.manifests.get(dispatch_id, {})

    def circuit_costs(self, dispatch_id: str) -> list[dict[str, Any]]:
        self.get_dispatch(dispatch_id)
        return self.costs

    def get_circuits(
        self, dispatch_id: str, node_id: int | None = None, *, limit: int | None = None,
        offset: int = 0,
    ) -> list[dict[str, Any]]:  # fmt: skip
        rows = self.circuits.get(dispatch_id, [])
        return [row for row in rows if node_id in (None, row["node_id"])][offset:][:limit]

    def circuits_after(self, number: int, limit: int) -> list[dict[str, Any]]:
        rows = [row for rows in self.circuits.values() for row in rows if row["number"] > number]
        return sorted(rows, key=lambda row: row["number"])[:limit]

    def electrons_by_executor(self, since: float) -> list[dict[str, Any]]:
        return [
            {"executor": node["executor"], "status": node["status"], "count": 1}
            for row in self.dispatches if row["created"] >= since
            for node in self.nodes[row["id"]]
        ]  # fmt: skip

    def triggers_of(self, dispatch_id: str) -> list[dict[str, Any]]:
        return self.triggers.get(dispatch_id, [])

    def circuits_by_dispatch(self, roots: Collection[str]) -> list[dict[str, Any]]:
        return [
            {"root_id": row["root_id"], "id": row["id"], "count": len(self.circuits[row["id"]])}
            for row in self.dispatches
            if row["root_id"] in roots and self.circuits.get(row["id"])
        ]

    def electron_lengths(self, since: float) -> list[tuple[str, float]]:
        return [(row["executor"], 1.0) for row in self.electrons_by_executor(since)]

    def circuit_summary(self, dispatch_id: str) -> list[dict[str, Any]]:
        rows = self.circuits.get(dispatch_id, [])
        return [{"executor": "Simulator", "circuits": len(rows), "seconds": 1.5}] if rows else []

    def payload(self, dispatch_id: str, of: str | int) -> dict[str, Any] | None:
        return {"digest": "d" * 64, "data": b"pickle"} if of == "result" else None

    def blob(self, digest: str) -> bytes:
        raise AssertionError("all payloads here are small")


class MemoryEngine:
    """What `qcov_server.engine.Engine` asks for; it runs nothing."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.store = MemoryStore()
        self.breakers = Breakers()
        self.submitted: list[dict[str, Any]] = []
        self.started: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[tuple[str, list[int] | None]] = []
        self.deleted: list[str] = []
        self.refusal: QcovError | None = None  #: what `submit` and `export` raise
        self.waited: list[float | None] = []
        self.events = Events()
        self.members: dict[str, Any] = {"status": "none"}  #: of its Dask cluster

    async def cluster(self) -> dict[str, Any]:
        return self.members

    async def submit(self, manifest: dict[str, Any]) -> str:
        if self.refusal is not None:
            raise self.refusal
        manifest["nodes"]
        self.submitted.append(manifest)
        return "new-id"

    async def wait(self, dispatch_id: str, timeout: float | None = None) -> str:
        self.waited.append(timeout)
        return str(self.store.get_dispatch(dispatch_id)["status"])

    async def start(self, dispatch_id: str, variables: dict[str, Any]) -> str:
        self.store.get_dispatch(dispatch_id)
        self.started.append((dispatch_id, variables))
        return dispatch_id

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None = None) -> str:
        self.store.get_dispatch(dispatch_id)
        self.cancelled.append((dispatch_id, node_ids))
        return "cancelled"

    async def delete(self, dispatch_id: str) -> str:
        if self.store.get_dispatch(dispatch_id)["status"] == "RUNNING":
            raise DeletionRefused(
                dispatch_id=dispatch_id, reason="is RUNNING", advice="Cancel it first."
            )
        self.deleted.append(dispatch_id)
        return "deleted"

    def export(self, dispatch_id: str, path: Path) -> None:
        if self.refusal is not None:
            raise self.refusal
        path.write_bytes(dispatch_id.encode())

    async def progress(
        self, dispatch_id: str, after: int = 0, timeout: float | None = None
    ) -> dict[str, Any]:
        status = self.store.get_dispatch(dispatch_id)["status"]
        return {"seq": self.events.number, "status": status, "done": 1, "total": 2}

    def happen(self, dispatch_id: str, node: int | None, status: str) -> None:
        """A change of status, as the engine tells it."""
        self.events.announce(dispatch_id, dispatch_id, node, Status(status))


class Server:
    """A server in a thread of its own, as the engine process would run it."""

    def __init__(self, engine: MemoryEngine, folder: Path) -> None:
        self.engine = engine
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.http: HttpServer = self._run(start(engine, folder, host="localhost", port=0))
        self.url = self.http.url
        self.port = int(self.url.rpartition(":")[2])
        self.tokens = Tokens(folder)

    @property
    def token(self) -> str:
        """The owner's."""
        return self.tokens.owner()

    def happen(self, dispatch_id: str, node: int | None, status: str) -> None:
        """Let the engine tell a change of status."""
        self.loop.call_soon_threadsafe(self.engine.happen, dispatch_id, node, status)

    def login_code(self) -> str:
        """A code from a new login link."""
        return self.http.login_link().partition("code=")[2]

    def key_of(self, client: httpx.Client) -> str:
        """The key of the session that a client has a cookie of."""
        sessions = self.http.sessions
        return sessions.key(client.cookies[sessions.cookie])

    def close(self) -> None:
        self._run(self.http.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(MemoryEngine(), tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def engine(shared_server: Server) -> MemoryEngine:
    """The served engine, as new."""
    shared_server.engine.forget()
    return shared_server.engine


@pytest.fixture
def server(shared_server: Server, engine: MemoryEngine) -> Server:
    return shared_server


@pytest.fixture
def stranger(server: Server) -> Iterator[httpx.Client]:
    """A client without the token."""
    with httpx.Client(base_url=server.url, verify=False, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def client(stranger: httpx.Client, server: Server) -> httpx.Client:
    stranger.headers["authorization"] = f"Bearer {server.token}"
    return stranger


@pytest.fixture
def only(server: Server) -> Iterator[str]:
    """A token with which a colleague sees the dispatch `mine` and nothing else."""
    yield server.tokens.share("a guest", lifetime=60.0, dispatch="mine")
    server.tokens.revoke("a guest")


@pytest.fixture
def shared(server: Server) -> Iterator[str]:
    """A token with which a colleague may look."""
    yield server.tokens.share("a colleague", lifetime=60.0)
    server.tokens.revoke("a colleague")
