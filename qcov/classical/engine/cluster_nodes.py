"""The nodes of a cluster that has no pages: Dask's own, but for their HTTP servers.

Those have no password, and answer whatever name a browser calls them by. Dask starts them even
where its dashboard is off. Only a cluster's own processes import this.
"""

from __future__ import annotations

import importlib
from typing import Any

_distributed: Any = importlib.import_module("distributed")


class _WithoutPages:
    def start_http_server(self, *_args: object, **_settings: object) -> None:
        """Start none."""


def _without_pages(node: str) -> Any:
    # a nanny's process finds it by its module
    return type(node, (_WithoutPages, getattr(_distributed, node)), {"__module__": __name__})


Scheduler, Worker = _without_pages("Scheduler"), _without_pages("Worker")
