"""Connections to a real server: what arrives too slowly is dropped, and nothing else."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from api import connections
from tests.services import free_port, wait_until

ARRIVAL_S = 0.3
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that answers slower than it lets requests arrive."""
    monkeypatch.setattr(connections, "ARRIVAL_S", ARRIVAL_S)
    app = FastAPI()

    @app.post("/uploads")
    async def upload(request: Request) -> int:
        await asyncio.sleep(2 * ARRIVAL_S)
        return sum([len(part) async for part in request.stream()])

    @app.post("/")
    async def answer(request: Request) -> StreamingResponse:
        await request.body()

        def slowly() -> Iterator[str]:
            time.sleep(2 * ARRIVAL_S)
            yield "done"

        return StreamingResponse(slowly())

    port = free_port()
    config = uvicorn.Config(
        app, port=port, http=connections.PatientProtocol, log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server to start")
    yield port
    server.should_exit = True
    thread.join()


def connect(port: int, *parts: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    for part in parts:
        client.sendall(part)
    return client


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    with client:
        return b"".join(iter(lambda: client.recv(4096), b""))


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD, HEAD + b"\r\n", HEAD + b"\r\n1"])
def test_half_a_request_is_dropped(port: int, sent: bytes) -> None:
    assert read_all(connect(port, sent)) == b""


def test_an_answer_may_take_longer_than_a_request(port: int) -> None:
    client = connect(port, HEAD + b"Connection: close\r\n\r\n", b"12")
    assert b"\r\ndone\r\n" in read_all(client)


def test_half_a_second_request_is_dropped_too(port: int) -> None:
    client = connect(port, HEAD + b"\r\n", b"12")
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        piece = client.recv(4096)
        assert piece
        received += piece
    client.sendall(HEAD)
    assert read_all(client) == b""


def test_a_large_body_waits_for_the_server(port: int) -> None:
    size = 10_000_000
    head = f"POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
    client = connect(port, f"{head}Connection: close\r\n\r\n".encode(), b"x" * size)
    assert read_all(client).endswith(str(size).encode())


def test_each_part_of_a_large_body_has_its_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ARRIVAL_S", 1.0)
    part = b"x" * 100_000
    head = HEAD.replace(b"Length: 2", b"Length: 400000") + b"Connection: close\r\n\r\n"
    client = connect(port, head)
    for _ in range(4):
        time.sleep(0.4)
        client.sendall(part)
    assert b"done" in read_all(client)
    client = connect(port, head, part)
    assert read_all(client) == b""
