"""Electrons in processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qcov.classical.executors.base import BaseExecutor


class LocalExecutor(BaseExecutor):
    """Runs electrons in worker processes on the engine's machine, one per core at a time.

    A process that dies fails only the electron that it ran. Cancelling an electron, or its time
    limit, stops its process and everything that the process started.

    Args:
        workdir: The folder that an electron runs in; where the program was started by default.
        **settings: Those of every executor: `log_stdout`, `log_stderr`, `cache_dir`, `time_limit`,
            `retries`.

    >>> LocalExecutor(time_limit=60)
    LocalExecutor(time_limit=60)
    """

    short_name = "local"

    def __init__(self, *, workdir: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.workdir = workdir or None

    def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_metadata: Mapping[str, Any],  # noqa: ARG002
    ) -> Any:
        """Run the function in this process."""
        return function(*args, **kwargs)
