"""The API behind a real socket, in a thread of the test's process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from app.core.config import Settings
from app.main import create_app
from tests.support.valkey import free_port
from tests.support.waiting import wait_until


@contextmanager
def running_api(settings: Settings) -> Iterator[str]:
    """Serve the API with these settings; gives its base URL."""
    with running_app(create_app(settings)) as url:
        yield url


@contextmanager
def running_app(app: FastAPI) -> Iterator[str]:
    """Serve an application as it was made, overridden dependencies included."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), within=15)
        if not server.started:
            raise RuntimeError("the API for tests did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
