"""Electrons in processes of this machine."""

from __future__ import annotations

from qcov.classical.executors.base import BaseExecutor


class LocalExecutor(BaseExecutor):
    """Runs electrons in worker processes on the engine's machine, one per core at a time.

    A process that dies fails only the electron that it ran. Cancelling an electron, or its time
    limit, stops its process and everything that the process started.

    Args:
        time_limit: Seconds after which an electron is stopped; None for no limit.
        retries: How often an electron is tried again after a failure.
        workdir: The folder that an electron runs in; where the program was started by default.

    >>> LocalExecutor(time_limit=60)
    LocalExecutor(time_limit=60, retries=0, workdir=None)
    """

    short_name = "local"

    def __init__(
        self, *, time_limit: float | None = None, retries: int = 0, workdir: str | None = None
    ) -> None:
        super().__init__(time_limit=time_limit, retries=retries)
        self.workdir = workdir
