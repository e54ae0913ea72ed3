"""The engine's pages and REST interface.

The engine process serves them in its own event loop: `qcov_server.serving.start` gives it an
address and login links.
"""

from __future__ import annotations
