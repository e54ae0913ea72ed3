"""`IBMQExecutor` runs circuits at IBM Quantum, each as a job of its own."""

from __future__ import annotations

from typing import Literal

from qcov.qexecutors.qiskit import QiskitExecutor


class IBMQExecutor(QiskitExecutor):
    """Runs circuits at IBM Quantum, each as a job of its own, several of them at once.

    It takes the settings of a `QiskitExecutor`, which is faster: there, a batch is one job.

    Args:
        backend: One of IBM's, or "least_busy". The default is the simulator that was Covalent's,
            which IBM has switched off: Aer does here what it did.
        shots: 0, the default, takes the QNode's own; a number overrides them.
        max_jobs: How many jobs may wait or run at once; IBM's plans may allow fewer.

    Example:
        >>> IBMQExecutor(backend="ibm_torino", ibmqx_token="env:QISKIT_IBM_TOKEN").max_jobs
        20
    """

    device: Literal["sampler"] = "sampler"  # pyright: ignore[reportIncompatibleVariableOverride]
    backend: str | None = "ibmq_qasm_simulator"
    shots: int | None = 0
    single_job: bool = False
    max_jobs: int = 20

    @property
    def _most_jobs(self) -> int | None:
        return self.max_jobs
