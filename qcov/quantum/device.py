"""The device of a qelectron: it runs nothing itself, it hands whole batches over.

PennyLane calls a device's `execute` with all circuits that it wants at once: one for a call, all
shifted ones for a gradient. Every executor prepares circuits for its own device.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from qcov.budget import paying
from qcov.context import get_context
from qcov.qexecutors.base import BaseQExecutor, Circuit
from qcov.quantum import flights, router
from qcov.quantum.pennylane_device import BatchDevice
from qcov.quantum.recording import Caller, CircuitRun
from qcov.quantum.tickets import Request


class QElectronDevice(BatchDevice):
    """Stands for `original`, runs on `executor`, on behalf of `caller`."""

    def __init__(self, original: Any, executor: BaseQExecutor, caller: Caller) -> None:
        self.executor = executor
        self.caller = caller
        super().__init__(original)

    @property
    def executors(self) -> list[BaseQExecutor]:
        """The executor or cluster, in a list as Covalent had it."""
        return [self.executor]

    def request(
        self, circuits: Sequence[Circuit], mcm_method: str | None, postselect_mode: str | None
    ) -> Request:
        """What the router is asked for."""
        return Request(
            circuits=tuple(circuits),
            executor=self.executor,
            caller=self.caller,
            wires=self.executor_wires,
            mcm_method=mcm_method,
            postselect_mode=postselect_mode,
            budgets=paying(),
            diff_method=self._diff_method,
        )

    def run(
        self, circuits: Sequence[Circuit], mcm_method: str | None, postselect_mode: str | None
    ) -> list[Any]:
        """Run circuits and wait for their results."""
        return router.run(self.request(circuits, mcm_method, postselect_mode))

    def remember(
        self,
        circuits: Sequence[Circuit],
        results: Sequence[Any],
        executor: BaseQExecutor,
        started: float,
    ) -> None:
        """File circuits that an executor's own device ran."""
        finished = time.time()
        flights.remember(
            [
                CircuitRun(
                    caller=self.caller,
                    context=get_context(),
                    circuit=circuit,
                    executor=executor,
                    outcome=result,
                    queued=started,
                    started=started,
                    finished=finished,
                    share=(finished - started) / len(circuits),
                    diff_method=self._diff_method,
                )
                for circuit, result in zip(circuits, results, strict=True)
            ]
        )
