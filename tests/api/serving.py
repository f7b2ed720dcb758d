"""The API on a port, within the test's process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.context import Context
from api.server import make_api
from tests.services import free_port, wait_until


@contextmanager
def serving(context: Context) -> Iterator[str]:
    """Yields its URL. For what the test client cannot do: bodies that go on, or break off."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(make_api(context), port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the API to answer")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        context.ending.set()
        server.should_exit = True
        thread.join()
