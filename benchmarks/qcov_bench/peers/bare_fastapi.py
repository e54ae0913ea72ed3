"""An application that answers every request with the same empty object."""

from __future__ import annotations

import json
import socket

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def nothing() -> dict[str, str]:
    """Say nothing."""
    return {}


def main() -> None:
    """Serve on a free port, which is printed as JSON."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
