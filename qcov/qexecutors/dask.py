"""`DaskQExecutor` runs circuits on the workers of a Dask cluster."""

from __future__ import annotations

from typing import Any

from qcov.errors import InvalidSetting
from qcov.qexecutors.simulator import AS_CONFIGURED, Parallel, Simulator


class DaskQExecutor(Simulator):
    """Runs circuits on a PennyLane simulator in the workers of a Dask cluster.

    It is a `Simulator` with `parallel="dask"`, and takes its settings. Circuits travel compactly,
    workers keep their devices, and what a worker that is lost left undone runs again. The workers
    need qcov, and the same version of Python.

    Args:
        device: The name of a PennyLane device.
        scheduler_address: Where the scheduler is, such as "tcp://10.0.0.1:8786". By default the
            program's own client is used; without one, workers are started on this machine.
        client: A `distributed.Client` of one's own, instead of an address. It does not travel with
            a pickled executor; the address of its scheduler does.

    Example:
        >>> DaskQExecutor("lightning.qubit", scheduler_address="tcp://10.0.0.1:8786")
        DaskQExecutor(...scheduler_address='tcp://10.0.0.1:8786', ...)
    """

    parallel: Parallel = "dask"

    def __init__(self, device: str = AS_CONFIGURED, *, client: Any = None, **settings: Any) -> None:
        if settings.get("parallel", "dask") != "dask":
            raise InvalidSetting(
                executor=type(self).__name__,
                setting=f"parallel={settings['parallel']!r}",
                reason="is for a Simulator; this one always uses Dask.",
            )
        if client is not None:
            settings["scheduler_address"] = _address_of(client, type(self).__name__)
        super().__init__(device, **settings)
        self._local.client = client


def _address_of(client: Any, executor: str) -> str:
    scheduler = getattr(client, "scheduler", None)
    if scheduler is None:
        reason = f"must be a distributed.Client that is connected, not {client!r}"
        raise InvalidSetting(executor=executor, setting="client", reason=reason)
    return scheduler.address
