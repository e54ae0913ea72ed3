"""What runs in a worker process of a `Simulator`.

Frames with a blob come in: first what kind of device, then batches of circuits. For each batch a
frame with its results goes out.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

import numpy as np

from qcov import transport
from qcov.errors import CircuitError, SerializationError
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.frames import read_frame, write_frame
from qcov.qexecutors.pennylane_simulation import Simulation
from qcov.qexecutors.pennylane_wire import PackedBatch, unpack
from qcov.qexecutors.result_columns import Columns, pack_results

_COLLECT_EVERY = 100_000  # new objects; a batch is gone as a whole when it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSetup:
    """What is needed to make devices like the owner's."""

    device: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    template: Any = None  #: a device whose options those on the same wires get

    def make(self, wires: int | tuple[Any, ...] | None) -> Any:
        """A new device."""
        if self.template is not None and adapter.device_wires(self.template) == wires:
            return adapter.renew_device(self.template)
        return adapter.make_device(self.device, wires, self.options)


class Workbench:
    """The devices of one worker, which stay warm."""

    def __init__(self, setup: DeviceSetup) -> None:
        self._setup = setup
        self._simulations: dict[object, Simulation] = {}

    def run(self, packed: PackedBatch) -> Columns | list[Any]:
        """Run a batch; errors that cannot travel are put into words."""
        batch = unpack(packed)
        if batch.wires not in self._simulations:
            self._simulations[batch.wires] = Simulation(self._setup.make(batch.wires))
        return pack_results(self._simulations[batch.wires].run(batch))


def serve(connection: socket.socket) -> None:
    """Answer requests until the owner closes its end."""
    gc.set_threshold(_COLLECT_EVERY, 50, 100)
    random.seed()  # or all workers that were forked here would draw the same
    np.random.seed()  # it is what PennyLane's devices draw their seeds from
    requests: SimpleQueue[bytes] = SimpleQueue()
    receiving, sending = connection.makefile("rb"), connection.makefile("wb")
    threading.Thread(target=_receive, args=(receiving, requests), daemon=True).start()
    bench = Workbench(cast("DeviceSetup", transport.loads(requests.get())))
    while True:
        results = bench.run(cast("PackedBatch", transport.loads(requests.get())))
        write_frame(sending, pack_reply(results))


def pack_reply(results: Columns | list[Any]) -> bytes:
    """The blob of results; errors that cannot be pickled are put into words."""
    try:
        return transport.dumps(results, what="results")
    except SerializationError:
        if isinstance(results, Columns):
            raise
        return transport.dumps([_sendable(result) for result in results], what="results")


def _receive(stream: BinaryIO, requests: SimpleQueue[bytes]) -> None:
    """Take requests as they come, so that a busy worker notices too when its owner is gone."""
    while True:
        try:
            requests.put(read_frame(stream))
        except (EOFError, OSError):
            os._exit(0)


def _sendable(result: Any) -> Any:
    if not isinstance(result, Exception):
        return result
    return CircuitError(executor="Simulator", reason=f"{type(result).__name__}: {result}")
