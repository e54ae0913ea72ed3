"""How a process reaches Dask clusters: by address and certificates, once it is clear that they fit.

A connection is kept for the life of the process. Nothing of Dask is imported before the first one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qcov.config import data_dir, get_config
from qcov.errors import ClusterUnavailable, ConfigError, WorkerLost
from qcov.version import __version__

_COMES_UP = 60.0  # seconds that a cluster of the server's own has to come up
_LOOKS_AGAIN = 0.05
_CONNECTS, _CLOSES = 10.0, 1.0  # seconds to reach a scheduler, and to hang up
_TLS = ("tls_ca_file", "tls_cert", "tls_key")
_START = "Start one with `qcov start`, or give `scheduler_address`."
#: What must be equal on both sides, and where `get_versions` says it.
_COMPARED = ("python", "cloudpickle", "qcov")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a scheduler is, and the files of the certificates to reach it with."""

    address: str
    tls_ca_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""


class Cluster:
    """A cluster that this process is connected to.

    Args:
        place: Where its scheduler is.

    Raises:
        ClusterUnavailable: it cannot be reached, or its workers do not fit to this process.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.address = place, place.address
        self._distributed = distributed()
        self._client = self._connected()
        try:
            _check_versions(self.address, self._client.get_versions(packages=["qcov"]))
        except BaseException:
            self._client.close()
            raise

    @property
    def lost(self) -> bool:
        """True once the connection is gone."""
        return self._client.status != "running"

    def submit(self, function: Callable[[bytes], bytes], asked: bytes, *, name: str) -> Any:
        """Have a worker run something; its future."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of graphs that are large: an electron's values are
            return self._client.submit(function, asked, key=name, pure=False)

    def result_of(self, future: Any, *, electron: str) -> Any:
        """What a worker gave.

        Raises:
            WorkerLost: workers died with it, or it was taken back.
            ClusterUnavailable: the scheduler is gone, or a worker could not begin.
        """
        try:
            return future.result()
        except self._distributed.KilledWorker:
            raise WorkerLost(electron=electron, reason="its Dask worker died") from None
        except (OSError, TimeoutError, self._distributed.CancelledError):
            reason = "the Dask cluster was restarted, or took the electron back"
            raise WorkerLost(electron=electron, reason=reason) from None
        except ImportError as error:
            raise self._unfit(f"a worker cannot import qcov ({error})") from None

    def forget(self, name: str) -> None:
        """Let the scheduler forget that a worker has begun with something."""
        if not self.lost:
            self._distributed.Event(name, client=self._client).clear()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _connected(self) -> Any:
        try:
            return _client_class(self._distributed.Client)(
                self.address,
                security=_security(self._distributed, self.place),
                set_as_default=False,
                timeout=_CONNECTS,
                name="qcov",
            )
        except (OSError, TimeoutError) as error:
            raise self._unreached(error) from None
        except (TypeError, ValueError) as error:  # a protocol that nobody brings, no certificates
            raise self._unreached(error) from None

    def _unreached(self, error: Exception) -> ClusterUnavailable:
        told = str(error.__cause__ or error) or type(error).__name__
        advice = "Is the scheduler running, and the address right?"
        if self.address.startswith("tls://"):
            names = ", ".join(f"dask.{name}" for name in _TLS)
            advice += f" It is reached by the certificates of the settings {names}."
        return ClusterUnavailable(
            address=self.address, reason=f"it cannot be reached ({told})", advice=advice
        )

    def _unfit(self, reason: str) -> ClusterUnavailable:
        advice = "Install qcov there, or give another `scheduler_address`."
        return ClusterUnavailable(address=self.address, reason=reason, advice=advice)


@functools.cache
def _client_class(base: Any) -> Any:
    """Dask's `Client`, closed by who has made it.

    Dask's own closes itself when it is collected, which hangs if that happens while another one
    is being made.
    """

    def __init__(self: Any, *args: Any, **settings: Any) -> None:  # noqa: N807
        try:
            base.__init__(self, *args, **settings)
        except BaseException:
            with contextlib.suppress(Exception):  # how much of it there is depends on the error
                self.close(timeout=_CLOSES)
            raise

    def __del__(_: Any) -> None:  # noqa: N807
        pass

    return type("Client", (base,), {"__init__": __init__, "__del__": __del__})


_clusters: dict[tuple[int, Place], Cluster] = {}


def cluster_at(address: str) -> Cluster:
    """The cluster at an address; the server's own if that is empty.

    Raises `ClusterUnavailable`.
    """
    place = _foreign(address) if address else _own()
    key = (os.getpid(), place)
    cluster = _clusters.get(key)
    if cluster is None or cluster.lost:
        if cluster is not None:
            cluster.close()
        _clusters[key] = cluster = Cluster(place)
    return cluster


def versions() -> dict[str, str]:
    """What of this process must be equal on workers."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "python": python,
        "cloudpickle": _major(importlib.metadata.version("cloudpickle")),
        "qcov": __version__,
    }


def distributed() -> Any:
    """Dask's own package. Raises `ClusterUnavailable` if it is not installed."""
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ClusterUnavailable(
            address="",
            reason=f"Dask is not installed in {sys.prefix}",
            advice="Run: pip install 'qcov[dask]'",
        ) from error


def own_cluster(folder: Path) -> Mapping[str, Any]:
    """What the engine of a data folder says of its cluster; nothing if it has none."""
    try:
        said = json.loads((folder / "engine.json").read_text())
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", said.get("cluster") or {})


def _own() -> Place:
    """Where the server's own cluster is, once it has come up."""
    deadline = time.monotonic() + _COMES_UP
    while (about := own_cluster(data_dir())).get("status") == "starting":
        if time.monotonic() > deadline:
            reason = f"the cluster of the server has not come up in {_COMES_UP:g} s"
            advice = "`qcov cluster --status` says how it is, `qcov logs` why."
            raise ClusterUnavailable(address="", reason=reason, advice=advice)
        time.sleep(_LOOKS_AGAIN)
    if "address" not in about:
        reason = "no cluster runs here, and the executor has no scheduler_address"
        raise ClusterUnavailable(address="", reason=reason, advice=_START)
    return Place(address=about["address"], **about.get("certificates", {}))


def _foreign(address: str) -> Place:
    """Where a cluster of others is; one at the address of our own has our certificates."""
    about = own_cluster(data_dir())
    if about.get("address") == address:
        return Place(address=address, **about.get("certificates", {}))
    files = {name: str(get_config(f"dask.{name}")) for name in _TLS}
    for name, path in files.items():
        if path and address.startswith("tls://") and not Path(path).is_file():
            raise ConfigError(
                key=f"dask.{name}", reason=f"there is no file {path}", source="the settings"
            )
    return Place(address=address, **files)


def _security(module: Any, place: Place) -> Any:
    if not (place.address.startswith("tls://") and place.tls_ca_file):
        return None
    return module.Security(
        tls_ca_file=place.tls_ca_file,
        tls_client_cert=place.tls_cert,
        tls_client_key=place.tls_key,
        require_encryption=True,
    )


def _check_versions(address: str, found: Mapping[str, Any]) -> None:
    """Refuse a cluster whose scheduler or workers have other versions than this process."""
    mine = versions()
    for where, about in [("scheduler", found["scheduler"]), *found["workers"].items()]:
        theirs = _versions_in(about)
        for name in _COMPARED:
            if theirs[name] != mine[name]:
                raise ClusterUnavailable(
                    address=address,
                    reason=f"its {where} has {_said(name, theirs)}, this program "
                    f"has {_said(name, mine)}",
                    advice="Install the same versions on both sides.",
                )


def _versions_in(about: Mapping[str, Any]) -> dict[str, str]:
    packages = about["packages"]
    python = ".".join(str(about["host"]["python"]).split(".")[:2])
    return {
        "python": python,
        "cloudpickle": _major(packages.get("cloudpickle") or ""),
        "qcov": packages.get("qcov") or "",
    }


def _said(name: str, versions_: Mapping[str, str]) -> str:
    return f"{name} {versions_[name]}" if versions_[name] else f"no {name}"


def _major(version: str) -> str:
    return version.partition(".")[0]
