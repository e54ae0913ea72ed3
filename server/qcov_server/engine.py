"""What the server asks of an engine and its store, and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from qcov.store.circuits import Place, Wanted

Row = Mapping[str, Any]


class Store(Protocol):
    """Reads; any thread may call them."""

    def list_dispatches(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        status: str | Sequence[str] | None = None,
        search: str | None = None,
        root_only: bool = True,
        created_after: float | None = None,
        created_before: float | None = None,
        sort: str = "-created",
        name: str | None = None,
        triggered: bool | None = None,
    ) -> tuple[Sequence[Row], int]:
        """A window of the dispatches, and how many there are in all."""
        ...

    def list_nodes(
        self,
        dispatch_id: str,
        *,
        limit: int = 100,
        offset: int = 0,
        status: str | Sequence[str] | None = None,
        kind: str | None = None,
        search: str | None = None,
        sort: str = "node_id",
    ) -> tuple[Sequence[Row], int]:
        """A window of the nodes of a dispatch, and how many there are in all."""
        ...

    def get_dispatch(self, dispatch_id: str) -> Row:
        """One dispatch; `DispatchNotFound` for an unknown id."""
        ...

    def get_nodes(
        self,
        dispatch_id: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        node_id: int | None = None,
    ) -> Sequence[Row]:
        """The nodes of a dispatch in their order, or the one with `node_id`."""
        ...

    def some_nodes(self, dispatch_id: str, numbers: Iterable[int]) -> Sequence[Row]:
        """The nodes of a dispatch with these numbers."""
        ...

    def get_edges(self, dispatch_id: str) -> Sequence[tuple[int, int, str]]:
        """Source, target and label of every edge."""
        ...

    def get_circuits(
        self,
        dispatch_id: str,
        node_id: int | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> Sequence[Row]:
        """The circuits that a dispatch, or one of its nodes, ran."""
        ...

    def list_circuits(
        self,
        wanted: Wanted,
        *,
        limit: int,
        after: Place | None = None,
        before: Place | None = None,
    ) -> Sequence[Row]:
        """A window of the circuits that are wanted, in their order, without their structures."""
        ...

    def count_circuits(self, wanted: Wanted) -> int:
        """How many circuits are wanted."""
        ...

    def get_circuit(self, dispatch_id: str, circuit_id: str) -> Row:
        """One circuit of a dispatch; `CircuitNotFound` for an unknown id."""
        ...

    def get_structures(self, keys: Iterable[str]) -> Mapping[str, str]:
        """The texts of structures, by key."""
        ...

    def circuits_by_node(self, dispatch_id: str) -> Sequence[Row]:
        """How many circuits each node has run: `node_id`, `name`, `circuits`."""
        ...

    def get_attempts(self, dispatch_id: str, node_id: int) -> Sequence[Row]:
        """The tries of a node that failed and were followed by another one."""
        ...

    def blob_size(self, digest: str) -> int | None:
        """The size of a payload in bytes; None for an unknown one."""
        ...

    def environment(self, dispatch_id: str) -> Row | None:
        """What a dispatch runs in; None if that was not noted."""
        ...

    def manifest(self, dispatch_id: str) -> Row:
        """The graph of a dispatch: nodes, functions with their source, executors."""
        ...

    def payload(self, dispatch_id: str, of: str | int) -> Row | None:
        """Digest and data of a sealed payload; `data` is None for one that is in a file."""
        ...

    def blob(self, digest: str) -> bytes:
        """The bytes of a payload, checked."""
        ...

    def circuits_after(self, number: int, limit: int) -> Sequence[Row]:
        """Circuits in the order they were stored, after that number."""
        ...

    def electrons_by_executor(self, since: float) -> Sequence[Row]:
        """How many electrons stand how, by executor, of dispatches that were made since then."""
        ...

    def triggers_of(self, dispatch_id: str) -> Sequence[Row]:
        """All triggers of a dispatch, oldest first."""
        ...

    def circuits_by_dispatch(self, roots: Collection[str]) -> Sequence[Row]:
        """How many circuits dispatches and their sublattices have run."""
        ...

    def electron_lengths(self, since: float) -> Sequence[tuple[str, float]]:
        """Executor and seconds of the latest electrons that have ended."""
        ...

    def circuit_summary(self, dispatch_id: str) -> Sequence[Row]:
        """How many circuits ran where, and for how long."""
        ...

    def circuit_costs(self, dispatch_id: str) -> Sequence[Row]:
        """What they have cost, by executor; all of their records are read for it."""
        ...


class Engine(Protocol):
    """What runs dispatches; its methods are called in its event loop."""

    @property
    def store(self) -> Store:
        """Where its dispatches live."""
        ...

    async def submit(self, manifest: dict[str, Any]) -> str:
        """Take a dispatch; returns its id once it is committed."""
        ...

    async def start(self, dispatch_id: str, variables: dict[str, Any]) -> str:
        """Start a dispatch that was only stored; returns its id once that is committed."""
        ...

    async def rerun(
        self,
        dispatch_id: str,
        new_id: str,
        variables: dict[str, Any],
        trigger_id: str | None = None,
        *,
        reuse: bool = False,
        watching: bool = False,
    ) -> str:
        """Run a dispatch that was stored, or run it once more as `new_id`; returns its id.

        With `reuse`, what the earlier run has computed is taken over. A trigger that is `watching`
        starts nothing once it was stopped.
        """
        ...

    async def stop_triggers(self, dispatch_ids: Sequence[str]) -> None:
        """Stop all triggers of these dispatches: when it returns, what they start has started."""
        ...

    @property
    def cluster(self) -> Callable[[], Awaitable[Mapping[str, Any]]]:
        """How its Dask cluster is (`status`: "none" without one), and the `workers` of that."""
        ...

    def export(self, dispatch_id: str, path: Path) -> None:
        """Write a dispatch as a research object; any thread may call it."""
        ...

    @property
    def breakers(self) -> Breakers:
        """Which executors of circuits are left alone just now."""
        ...

    @property
    def triggers(self) -> Triggers:
        """What runs dispatches again."""
        ...

    async def wait(self, dispatch_id: str, timeout: float | None = None) -> str:
        """Wait until a dispatch has ended, or for `timeout` seconds; returns its status."""
        ...

    async def cancel(self, dispatch_id: str, node_ids: list[int] | None = None) -> str:
        """Cancel a dispatch or some of its nodes; returns what was done."""
        ...

    async def delete(self, dispatch_id: str) -> str:
        """Delete a dispatch that has ended; `DeletionRefused` for one that runs or is needed."""
        ...

    async def progress(self, dispatch_id: str, after: int = 0, timeout: float | None = None) -> Row:
        """How far a dispatch is, once something has happened since event `after`, or soon."""
        ...

    async def streams(
        self,
        dispatch_id: str,
        node_id: int,
        *,
        source: str = "",
        after: Sequence[int] = (0, 0),
        timeout: float = 0.0,
    ) -> Printed:
        """What a node has printed since two positions in a source, once there is something new."""
        ...

    @property
    def events(self) -> Events:
        """What happens in it."""
        ...


class Part(Protocol):
    """A part of what was printed, and where it stands."""

    @property
    def start(self) -> int:
        """Its position."""
        ...

    @property
    def end(self) -> int:
        """The position of the next part."""
        ...

    @property
    def text(self) -> str:
        """The part."""
        ...


class Printed(Protocol):
    """What came of both streams since somebody looked last."""

    @property
    def source(self) -> str:
        """What positions count in."""
        ...

    @property
    def status(self) -> str:
        """The node's."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """Of standard output and of standard error."""
        ...


class Breaker(Protocol):
    """An executor that is left alone."""

    @property
    def executor(self) -> str:
        """Its class."""
        ...

    @property
    def device(self) -> str | None:
        """Its device."""
        ...

    @property
    def until(self) -> float:
        """Then it is tried again, in seconds since the epoch."""
        ...


class Breakers(Protocol):
    """Circuit breakers."""

    def open(self) -> Sequence[Breaker]:
        """Those that are open; any thread may ask."""
        ...


class Triggers(Protocol):
    """Triggers: registered and listed."""

    async def register(self, described: dict[str, Any]) -> str:
        """Keep a trigger and let it watch; returns its id once it is on disk."""
        ...

    async def page(self, **window: Any) -> Row:
        """`triggers`, a window of them, newest first, and `total`, how many there are in all."""
        ...

    async def get(self, trigger_id: str) -> Row:
        """One of them; `TriggerNotFound` for an unknown id."""
        ...

    async def runs(self, trigger_id: str, limit: int, offset: int) -> Sequence[Row]:
        """What one of them has started, oldest first; `TriggerNotFound` for an unknown id."""
        ...

    async def note_fired(self, trigger_id: str, dispatch_id: str) -> None:
        """A trigger has started a dispatch that another server has."""
        ...


class Events(Protocol):
    """What happens: `seq`, `kind`, `time`, and what it is about."""

    @property
    def number(self) -> int:
        """Of the last one."""
        ...

    def tell(self, kind: str, **about: Any) -> None:
        """One more, told to all."""
        ...

    def pass_on(self, kind: str, topic: str, **about: Any) -> None:
        """One that only those who asked for its topic hear, and nobody remembers."""
        ...

    def subscribe(self) -> AbstractAsyncContextManager[asyncio.Queue[dict[str, Any]]]:
        """Those that happen from now on."""
        ...

    def since(self, number: int) -> list[dict[str, Any]] | None:
        """Those after the one with this `seq`; None if they are not remembered."""
        ...
