"""The program that runs in a worker process of `Simulator(parallel="process")`.

Frames of an eight-byte length and a blob come in over standard input: first the device's name and
options, then batches of circuits. For each batch a frame with its results goes out over what was
standard output; prints go to standard error meanwhile.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

from qcov import transport
from qcov.errors import CircuitError, SerializationError
from qcov.qexecutors.base import CircuitBatch

_LENGTH = 8  # bytes


def write_frame(stream: BinaryIO | Any, blob: bytes) -> None:
    """Send one blob."""
    stream.write(len(blob).to_bytes(_LENGTH, "big"))
    stream.write(blob)
    stream.flush()


def read_frame(stream: BinaryIO | Any) -> bytes:
    """Receive one blob; raises EOFError when the other side is gone."""
    length = int.from_bytes(_read(stream, _LENGTH), "big")
    return _read(stream, length)


def _read(stream: BinaryIO | Any, size: int) -> bytes:
    data = cast("bytes", stream.read(size))
    if len(data) < size:
        raise EOFError
    return data


def main() -> None:
    """Answer requests until the owner closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    sending = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()

    from qcov.qexecutors import pennylane_adapter as adapter
    from qcov.qexecutors.pennylane_simulation import Simulation

    gc.freeze()  # what was imported stays; the collector need not look at it again
    device, options = cast("tuple[str, dict[str, Any]]", transport.loads(requests.get()))
    simulations: dict[object, Simulation] = {}
    while True:
        batch = cast("CircuitBatch", transport.loads(requests.get()))
        if batch.wires not in simulations:
            made = adapter.make_device(device, batch.wires, options)
            simulations[batch.wires] = Simulation(made)
        write_frame(sending, _pack(simulations[batch.wires].run(batch)))


def _receive(stream: BinaryIO, requests: SimpleQueue[bytes]) -> None:
    """Take requests as they come, so that a busy worker notices too when its owner is gone."""
    while True:
        try:
            requests.put(read_frame(stream))
        except EOFError:
            os._exit(0)


def _pack(results: Sequence[Any]) -> bytes:
    try:
        return transport.dumps(results, what="results")
    except SerializationError:
        return transport.dumps([_sendable(result) for result in results], what="results")


def _sendable(result: Any) -> Any:
    if not isinstance(result, Exception):
        return result
    return CircuitError(executor="Simulator", reason=f"{type(result).__name__}: {result}")


if __name__ == "__main__":
    main()
