"""The server, as it tells of itself."""

from __future__ import annotations

from pydantic import Field

from qcov_server.api.models.base import Answer


class ServerStatus(Answer):
    """The server."""

    version: str
    pid: int
    python: str
    event_streams: int = Field(description="How many event streams are open.")
