"""What a client may ask of an engine over its socket. The HTTP interface offers the same."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from qcov.classical.engine.channel import PROTOCOL, ChannelProtocol, Message, pack_error
from qcov.classical.engine.engine import Engine
from qcov.errors import EngineError, QcovError
from qcov.version import __version__

Verb = Callable[..., Awaitable[Any]]


class Verbs:
    """Answers requests `{"number", "verb", "arguments"}` with `{"number", "value" | "error"}`.

    Args:
        engine: The engine.
        extra: Verbs of the process around it, such as "stop".
    """

    def __init__(self, engine: Engine, extra: dict[str, Verb]) -> None:
        self._engine = engine
        self._tasks: dict[ChannelProtocol, set[asyncio.Task[None]]] = {}
        self._goodbye: QcovError | None = None
        self._closed = False
        self._verbs: dict[str, Verb] = {
            "ping": self._ping,
            "submit": engine.submit,
            "start": engine.start,
            "outcome": self._outcome,
            "run": self._run,
            "rerun": engine.rerun,
            "register_trigger": engine.triggers.register,
            "stop_triggers": engine.stop_triggers,
            "note_fired": engine.triggers.note_fired,
            "triggers": engine.triggers.page,
            "trigger_runs": engine.triggers.runs,
            "prune": engine.pruner.prune,
            "export": self._export,
            "cancel": engine.cancel,
            "delete": engine.delete,
            "progress": self._progress,
            "dispatches": self._dispatches,
            "dispatch": self._dispatch,
            "nodes": self._nodes,
            "some_nodes": self._some_nodes,
            "streams": self._streams,
            "edges": self._edges,
            "payload": self._payload,
            "circuits": self._circuits,
            "circuit_summary": self._circuit_summary,
        } | extra

    @property
    def connected(self) -> bool:
        """True while a client waits for an answer."""
        return any(self._tasks.values())

    def on_message(self, channel: ChannelProtocol, request: Message) -> None:
        """Start answering a request."""
        if self._closed:
            return channel.close()
        task = asyncio.get_running_loop().create_task(self._answer(channel, request))
        waiting = self._tasks.setdefault(channel, set())
        waiting.add(task)
        return task.add_done_callback(waiting.discard)

    def on_close(self, channel: ChannelProtocol) -> None:
        """The client is gone: nobody waits for its answers."""
        for task in self._tasks.pop(channel, set()):
            task.cancel()

    async def say_goodbye(self, error: QcovError) -> None:
        """Answer all that wait with this error."""
        self._goodbye = error
        waiting = [task for tasks in self._tasks.values() for task in tasks]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def close(self) -> None:
        """Hang up on all clients."""
        self._closed = True
        for channel in list(self._tasks):
            channel.close()

    async def _answer(self, channel: ChannelProtocol, request: Message) -> None:
        answer: Message = {"number": request["number"]}
        try:
            verb = self._verbs.get(request["verb"])
            if verb is None:
                raise EngineError(f"the engine has no verb {request['verb']!r}")
            answer["value"] = await verb(**request["arguments"])
        except QcovError as error:
            answer["error"] = pack_error(error)
        except asyncio.CancelledError:
            if self._goodbye is None:  # the client has left
                raise
            answer["error"] = pack_error(self._goodbye)
        except Exception as error:  # noqa: BLE001  # the engine must outlive its own defects
            answer["error"] = pack_error(EngineError(f"{type(error).__name__}: {error}"))
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"verb {request['verb']} failed", "exception": error}
            )
        channel.send(answer)

    async def _ping(self) -> Message:
        return {"pid": os.getpid(), "version": __version__, "protocol": PROTOCOL}

    async def _outcome(
        self,
        dispatch_id: str,
        timeout: float | None = None,
        inside: Sequence[Any] | None = None,
    ) -> Message:
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout
        with self._engine.inside(_electron(inside)):
            await self._engine.wait(dispatch_id, timeout)
        return await self._engine.outcome(dispatch_id, until)

    async def _run(
        self, manifest: Message, inside: Sequence[Any] | None = None, *, first: bool = False
    ) -> Message:
        dispatch_id = await self._engine.submit(manifest, first=first)
        return await self._outcome(dispatch_id, inside=inside)

    async def _progress(
        self,
        dispatch_id: str,
        after: int = 0,
        inside: Sequence[Any] | None = None,
        timeout: float | None = None,
    ) -> Message:
        with self._engine.inside(_electron(inside)):
            return await self._engine.progress(dispatch_id, after, timeout)

    async def _dispatch(self, dispatch_id: str) -> Message:
        return await self._engine.read(self._engine.store.get_dispatch, dispatch_id)

    async def _payload(self, dispatch_id: str, of: str | int) -> Message | None:
        if of == "result":
            return await self._engine.read(self._engine.store.payload, dispatch_id, of)
        return await asyncio.to_thread(self._engine.store.payload, dispatch_id, of)

    # Long reads happen in threads: they must not keep electrons waiting.

    async def _dispatches(self, **window: Any) -> Message:
        rows, total = await asyncio.to_thread(self._engine.store.list_dispatches, **window)
        return {"dispatches": rows, "total": total}

    async def _export(self, dispatch_id: str, path: str) -> None:
        try:
            await asyncio.to_thread(self._engine.export, dispatch_id, Path(path))
        except OSError as error:
            raise EngineError(f"{path} cannot be written: {error.strerror or error}") from error

    async def _nodes(self, dispatch_id: str, **window: Any) -> list[Message]:
        return await asyncio.to_thread(self._engine.store.get_nodes, dispatch_id, **window)

    async def _some_nodes(self, dispatch_id: str, **window: Any) -> list[Message]:
        rows, _ = await asyncio.to_thread(self._engine.store.list_nodes, dispatch_id, **window)
        return rows

    async def _streams(self, dispatch_id: str, node_id: int) -> Message:
        """What a node has printed so far: `stdout`, `stderr`."""
        out, err = (await self._engine.streams(dispatch_id, node_id)).parts
        return {"stdout": out.text, "stderr": err.text}

    async def _edges(self, dispatch_id: str) -> list[tuple[int, int, str]]:
        return await asyncio.to_thread(self._engine.store.get_edges, dispatch_id)

    async def _circuits(self, dispatch_id: str, **window: Any) -> list[Message]:
        return await asyncio.to_thread(self._engine.store.get_circuits, dispatch_id, **window)

    async def _circuit_summary(self, dispatch_id: str) -> list[Message]:
        return await asyncio.to_thread(self._engine.store.circuit_summary, dispatch_id)


def _electron(inside: Sequence[Any] | None) -> tuple[str, int] | None:
    return None if inside is None else (inside[0], inside[1])
