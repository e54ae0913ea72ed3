"""The page of settings: what each is, who has said so, and how to change it. It changes none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from qcov.config import Told, config_file, data_dir, told_config
from qcov.errors import ConfigError
from qcov.logs import without_secrets
from qcov.settings import SETTINGS, is_secret
from qcov_server.ui.render import render

router = APIRouter(include_in_schema=False)

#: What each setting means.
MEANINGS: Mapping[str, str] = {
    "sdk.log_dir": "Where programs log.",
    "sdk.log_level": "From which level on the log is written.",
    "sdk.enable_logging": "Whether programs log.",
    "sdk.progress": "Whether bars are shown in terminals and notebooks.",
    "sdk.no_cluster": "Whether `qcov start` brings no Dask cluster.",
    "sdk.executor_dir": "Where executors of your own lie as files.",
    "dispatcher.address": "The loopback address that the server listens to.",
    "dispatcher.port": "The server's port.",
    "dispatcher.cache_dir": "Where the engine keeps what it can make again.",
    "dispatcher.results_dir": "Where files of results go, below the program's folder.",
    "dispatcher.log_dir": "Where the engine and its server log.",
    "engine.idle_timeout": "Seconds without work or server after which the engine leaves.",
    "engine.workers": "How many electrons run at a time; 0 for one on each core.",
    "engine.install_limit": "Seconds that one command which installs packages may take.",
    "tracing.endpoint": "Where spans go, a URL of OTLP over HTTP; nowhere if it is empty.",
    "engine.lease": "Seconds for which an engine has its dispatches, where several share them.",
    "dask.cache_dir": "Where Dask keeps what it can make again.",
    "dask.log_dir": "Where Dask logs.",
    "dask.mem_per_worker": "Memory of a Dask worker.",
    "dask.threads_per_worker": "Threads of a Dask worker.",
    "dask.num_workers": "How many Dask workers there are.",
    "dask.dashboard": "Whether it has pages of Dask's own, which no token protects.",
    "dask.adaptive_min": "The fewest workers of a cluster that adapts; 0 if it does not.",
    "dask.adaptive_max": "The most of them.",
    "dask.tls_ca_file": "The authority of schedulers that are reached by TLS.",
    "dask.tls_cert": "The certificate to show them.",
    "dask.tls_key": "The file with its key.",
    "dask.scheduler_address": "Where Dask's scheduler is; written by a server.",
    "dask.dashboard_link": "Where Dask's own pages are; written by a server.",
    "dask.process_info": "Which process Dask runs in; written by a server.",
    "dask.pid": "Its number; written by a server.",
    "dask.admin_host": "Where the cluster is steered; written by a server.",
    "dask.admin_port": "The port for that; written by a server.",
    "workflow_data.db_path": "The file of the database.",
    "workflow_data.db_url": "A PostgreSQL database instead of that file.",
    "workflow_data.seal_key": "The key that seals what is stored.",
    "workflow_data.storage_type": "How payloads are stored.",
    "workflow_data.base_dir": "Where large payloads lie: a folder, or a bucket's URL.",
    "costs.prices": "Prices of your own for quantum computers.",
    "user_interface.address": "As dispatcher.address, for Covalent's scripts.",
    "user_interface.port": "As dispatcher.port, for Covalent's scripts.",
    "user_interface.log_dir": "As dispatcher.log_dir, for Covalent's scripts.",
    "user_interface.dispatch_db": "As workflow_data.db_path, for Covalent's scripts.",
    "executors.local.log_stdout": "A file for what local electrons print, besides the store.",
    "executors.local.log_stderr": "The same for their standard error.",
    "executors.local.cache_dir": "Where local electrons keep files.",
    "executors.dask.log_stdout": "A file for what electrons on Dask print.",
    "executors.dask.log_stderr": "The same for their standard error.",
    "executors.dask.cache_dir": "Where electrons on Dask keep files.",
}


@router.get("/settings")
def settings(request: Request) -> HTMLResponse:
    """All settings, as this server sees them."""
    values = {"sections": _sections(told_config()), "file": config_file(), "folder": data_dir()}
    return render(request, "settings.html", values)


def _sections(told: Iterable[Told]) -> Mapping[str, list[Mapping[str, Any]]]:
    sections: dict[str, list[Mapping[str, Any]]] = {}
    for one in sorted(told, key=lambda one: one.key):
        row = {
            "key": one.key,
            "value": shown(one.key, one.value),
            "source": one.source,
            "line": one.line,
            "variable": one.variable,
            "meaning": MEANINGS.get(one.key, ""),
            "known": one.key in SETTINGS,
        }
        sections.setdefault(one.key.partition(".")[0], []).append(row)
    return sections


def shown(key: str, value: Any) -> str:
    """A value for people: what is secret is hidden.

    >>> shown("executors.ibm.token", "abcdef"), shown("dispatcher.port", 48008)
    ('hidden', '48008')
    """
    if value in ("", None):
        return ""
    if is_secret(key):
        return "hidden"
    if key == "workflow_data.db_url":
        return _url(str(value))
    return without_secrets(str(value).lower() if isinstance(value, bool) else str(value))


def _url(url: str) -> str:
    from qcov.store.postgresql import masked

    try:
        return masked(url)
    except ConfigError:  # it is no URL: who knows where a password is
        return "hidden"
