"""What of an executor may change the values of electrons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

#: Settings that say where and how long an electron runs, but do not change what it returns.
_INCIDENTAL = frozenset(
    {
        *("cache_dir", "create_unique_workdir", "log_stderr", "log_stdout", "poll_freq"),
        *("retries", "time_limit", "workdir"),
    }
)


def decisive(described: Mapping[str, Any]) -> dict[str, Any]:
    """Of an executor as JSON, what may change the values of electrons: its kind, its Python."""
    attributes = cast("Mapping[str, Any]", described["attributes"])
    kept = {name: attributes[name] for name in sorted(attributes) if name not in _INCIDENTAL}
    return {"type": described["type"], "attributes": kept}
