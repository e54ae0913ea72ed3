"""Electrons on a Dask cluster.

An electron travels as bytes: the scheduler, which has to look at what it passes on, sees nothing
of it. On a worker it runs in a process of its own (see `dask_worker`), so that it can be stopped,
and its prints can be told from others'.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from qcov import records
from qcov.classical.executors import dask_client
from qcov.classical.executors.base import BaseExecutor, RaisedElsewhere
from qcov.classical.executors.dask_surroundings import offered
from qcov.classical.executors.dask_worker import run_electron
from qcov.context import get_context
from qcov.errors import (
    ClusterUnavailable,
    EngineError,
    MemoryLimitExceeded,
    TimeLimitExceeded,
    WorkerLost,
)
from qcov.transport import TransportableObject, address, dumps, names_in
from qcov.wire import pack, unpack

#: What a worker's answer has, and of which types it is.
_ANSWER: Mapping[str, type | tuple[type, ...]] = {
    "did": str,
    "reason": str,
    "stdout": str,
    "stderr": str,
    "circuits": list,
    "value": (bytes, type(None)),
    "digest": (str, type(None)),
    "text": str,
    "memory": int,
    "limit": int,
}


class DaskExecutor(BaseExecutor):
    """Runs electrons on the workers of a Dask cluster.

    Without an address it is the cluster that `qcov start` brings. Cancelling an electron, or its
    time limit, stops its process; the time that it waits for a free worker does not count. An
    electron whose worker dies fails, and is tried again `retries` times. What an electron prints,
    and its circuits, are there while it runs on the cluster of `qcov start`, and on another one
    when it has ended. Needs `pip install 'qcov[dask]'`.

    Args:
        scheduler_address: Where the scheduler is, such as "tcp://10.0.0.1:8786". With "tls://" it
            is reached by the certificates of the settings `dask.tls_ca_file`, `dask.tls_cert` and
            `dask.tls_key`.
        log_stdout: A file to which electrons' standard output is appended, besides being stored.
        log_stderr: The same for standard error.
        conda_env: Taken for the sake of programs written for Covalent; workers have the Python
            that they were started with.
        cache_dir: The same.
        current_env_on_conda_fail: The same.
        **settings: Those of every executor: `time_limit`, `retries`.

    >>> DaskExecutor("tcp://10.0.0.1:8786", retries=1)
    DaskExecutor(...scheduler_address='tcp://10.0.0.1:8786'...)
    """

    short_name = "dask"

    def __init__(  # noqa: PLR0917  # Covalent's arguments, in Covalent's order
        self,
        scheduler_address: str = "",
        log_stdout: str = "stdout.log",
        log_stderr: str = "stderr.log",
        conda_env: str = "",
        cache_dir: str = "",
        current_env_on_conda_fail: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(
            log_stdout=log_stdout,
            log_stderr=log_stderr,
            conda_env=conda_env,
            cache_dir=cache_dir,
            current_env_on_conda_fail=current_env_on_conda_fail,
            **settings,
        )
        self.scheduler_address = scheduler_address

    def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_metadata: Mapping[str, Any],
    ) -> Any:
        """Run an electron's function on a worker of the cluster; return its value.

        Raises:
            ClusterUnavailable: there is no cluster, or its workers cannot run the electron.
            WorkerLost: the process that ran the electron died, or its worker did.
            TimeLimitExceeded: it ran for longer than it may.
            MemoryLimitExceeded: it took the own cluster's worker over its limit.
            RaisedElsewhere: the function raised something; it says what and where.
        """
        cluster = dask_client.cluster_at(self.scheduler_address)
        electron = _name_of(function, task_metadata)
        asked = _asked(function, args, kwargs) | {
            "electron": electron,
            "time_limit": self.time_limit,
        }
        name = f"qcov-{uuid.uuid4().hex}"
        with offered(_surroundings()) as place:
            message = pack({**asked, "name": name, "surroundings": place})
            future = cluster.submit(run_electron, message, name=name)
            self._job_handle, self._future = name, future
            try:
                answer = _checked(cluster.result_of(future, electron=electron), cluster.address)
            finally:
                cluster.forget(name)
        return self._taken(answer, electron, cluster.address)

    def cancel(self, task_metadata: Mapping[str, Any], job_handle: Any) -> Any:  # noqa: ARG002
        """Take the electron back from the cluster; its worker stops the process that runs it."""
        future = getattr(self, "_future", None)
        if future is not None:
            future.cancel()
        return True

    def _taken(self, answer: Mapping[str, Any], electron: str, address_: str) -> Any:
        """What came of an electron: prints and circuits go where they belong."""
        sys.stdout.write(answer["stdout"])
        sys.stderr.write(answer["stderr"])
        records.record([_Known(each) for each in answer["circuits"]])
        did, reason = answer["did"], answer["reason"]
        if did == "returned":
            blob = answer["value"]
            if blob is None or address(blob) != answer["digest"]:
                raise EngineError(f"{address_} sent a value of {electron!r} that is damaged")
            return TransportableObject.from_blob(blob, answer["text"])
        if did == "raised":
            raise RaisedElsewhere(reason)
        if did == "overran":
            assert self.time_limit is not None
            raise TimeLimitExceeded(electron=electron, seconds=self.time_limit)
        if did == "exceeded":
            memory, limit = answer["memory"], answer["limit"]
            raise MemoryLimitExceeded(electron=electron, memory=memory, limit=limit)
        if did == "lost":
            raise WorkerLost(electron=electron, reason=reason)
        advice = "Workers need the same versions as your program, and what your electrons import."
        raise ClusterUnavailable(address=address_, reason=reason, advice=advice)


class _Known:
    """The record of a circuit that ran elsewhere, as a sink takes it."""

    __slots__ = ("_data",)

    def __init__(self, data: dict[str, object]) -> None:
        self._data = data

    def to_dict(self, known: set[str]) -> dict[str, object]:
        """The record; without the text of a structure that the sink has."""
        structure = self._data.get("structure")
        if structure is None or self._data.get("structure_data") is None:
            return self._data
        if structure in known:
            return {**self._data, "structure_data": None}
        known.add(str(structure))
        return self._data

    def compact(self) -> None:
        """It is data already."""


def _asked(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """What a worker gets: the electron as a blob, and where in which dispatch it is."""
    call = dumps((function, list(args), dict(kwargs)), what="an electron with its arguments")
    context = get_context()
    asked: dict[str, Any] = {
        "versions": dask_client.versions(),
        "call": call,
        "digest": address(call),
        "modules": sorted({name for name in names_in(call) if name in sys.modules}),
        "context": None,
    }
    if context is not None:
        names = ("dispatch_id", "node_id", "electron", "traceparent")
        asked["context"] = {name: getattr(context, name) for name in names}
    return asked


def _surroundings() -> dict[str, Any]:
    """What is around an electron on this machine, as it would be in a worker of the engine's."""
    return {
        "executable": sys.executable,
        "cwd": os.getcwd(),  # noqa: PTH109
        "sys_path": list(sys.path),
        "variables": dict(os.environ),
    }


def _checked(answer: object, where: str) -> dict[str, Any]:
    """A worker's answer, if it is one. Nothing in it has been loaded yet."""
    with contextlib.suppress(ValueError):
        message: object = unpack(answer) if isinstance(answer, bytes) else None
        if isinstance(message, dict):
            told = cast("dict[str, Any]", message)
            typed = all(isinstance(told.get(name, told), kind) for name, kind in _ANSWER.items())
            if typed and all(isinstance(circuit, dict) for circuit in told["circuits"]):
                return told
    raise EngineError(f"a worker of the Dask cluster at {where} gave no answer of qcov's")


def _name_of(function: Callable[..., Any], metadata: Mapping[str, Any]) -> str:
    context = get_context()
    if context is not None:
        return context.electron
    return str(getattr(function, "__name__", metadata.get("node_id", "an electron")))
