"""How a program here speaks to the runner: it reads its environment, listens on a port of its own and says which."""

import os
import socket
import sys
import threading

import uvicorn


def setting(name: str) -> str:
    """An environment variable that must be there."""
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set")
    return value


def _end_with_the_runner() -> None:
    sys.stdin.read()
    os._exit(0)


def serve(app) -> None:
    """Serves `app` on a free port, prints the one line that the runner waits for, and ends when the runner does."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    print(f"ready {listener.getsockname()[1]}", flush=True)
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
