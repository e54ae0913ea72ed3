"""The device of a qelectron: it runs nothing itself, it hands whole batches over.

PennyLane calls a device's `execute` with all circuits that it wants at once: one for a call, all
shifted ones for a gradient. Its preprocessing is empty, for every executor prepares circuits for
its own device.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from qcov.context import get_context
from qcov.qexecutors.base import BaseQExecutor, Circuit
from qcov.quantum import router
from qcov.quantum.pennylane_device import BatchDevice
from qcov.quantum.recording import Caller, CircuitRun


class QElectronDevice(BatchDevice):
    """Stands for `original`, runs on `executor`, on behalf of `caller`."""

    def __init__(self, original: Any, executor: BaseQExecutor, caller: Caller) -> None:
        super().__init__(original)
        self.executor = executor
        self.caller = caller

    @property
    def executors(self) -> list[BaseQExecutor]:
        """The executor or cluster, in a list as Covalent had it."""
        return [self.executor]

    def request(
        self, circuits: Sequence[Circuit], mcm_method: str | None, postselect_mode: str | None
    ) -> router.Request:
        """What the router is asked for."""
        return router.Request(
            circuits=tuple(circuits),
            executor=self.executor,
            caller=self.caller,
            wires=self.executor_wires,
            mcm_method=mcm_method,
            postselect_mode=postselect_mode,
        )

    def run(
        self, circuits: Sequence[Circuit], mcm_method: str | None, postselect_mode: str | None
    ) -> list[Any]:
        """Run circuits and wait for their results."""
        return router.run(self.request(circuits, mcm_method, postselect_mode))

    def derivative_device(self) -> Any | None:
        """The device of the one executor there is, if it may differentiate by itself."""
        return self.executor.derivative_device(self.executor_wires)

    def remember(self, circuits: Sequence[Circuit], results: Sequence[Any], started: float) -> None:
        """File circuits that `derivative_device` ran."""
        finished = time.time()
        router.remember(
            [
                CircuitRun(
                    caller=self.caller,
                    context=get_context(),
                    circuit=circuit,
                    executor=self.executor,
                    outcome=result,
                    queued=started,
                    started=started,
                    finished=finished,
                    share=(finished - started) / len(circuits),
                )
                for circuit, result in zip(circuits, results, strict=True)
            ]
        )
