"""The pages: Jinja templates, htmx for what changes, Cytoscape for the graph."""

from __future__ import annotations

from qcov_server.ui.pages import router

__all__ = ["router"]
