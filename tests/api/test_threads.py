"""Threads of the API's own: bounded in number and in time."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from api import context, submission
from api.threads import Threads
from models.errors import BusyError
from models.store import audit
from models.store.audit import Actor
from tests.api.responses import problem_detail


def test_what_hangs_keeps_its_thread_but_nobody_waiting() -> None:
    hang = threading.Event()

    async def scenario() -> None:
        threads = Threads(1, wait_s=0.05, answer_s=0.05, busy="Busy.")
        for call in (hang.wait, lambda: 7):  # The second has no turn.
            with pytest.raises(BusyError, match=r"Busy\."):
                await threads.run(call)
        hang.set()
        for _ in range(3):
            async with asyncio.timeout(10):
                assert await run_when_free(threads, lambda: 7) == 7

    asyncio.run(scenario())


async def run_when_free(threads: Threads, call: Callable[[], int]) -> int:
    while True:
        try:
            return await threads.run(call)
        except BusyError:
            pass


def test_an_error_is_passed_on_and_frees_the_thread() -> None:
    async def scenario() -> None:
        threads = Threads(1, wait_s=10, answer_s=None, busy="Busy.")
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await threads.run(lambda: 1 // 0)

    asyncio.run(scenario())


def test_a_stream_is_the_same_without_its_empty_pieces() -> None:
    async def scenario() -> list[bytes]:
        threads = Threads(1, wait_s=10, answer_s=None, busy="Busy.")
        return [piece async for piece in threads.stream(iter([b"a", b"", b"b", b""]))]

    assert asyncio.run(scenario()) == [b"a", b"b"]


def test_a_folder_that_does_not_answer_is_a_503(
    client: TestClient, faces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "FOLDER_WAIT_S", 0.05)
    hang = threading.Event()
    monkeypatch.setattr(submission, "check_folder", lambda *_: hang.wait())
    response = client.post("/v1/jobs", json={"folder": faces})
    hang.set()
    assert "did not answer" in problem_detail(response, 503, "busy")
    assert response.headers["Retry-After"] == "5"


def test_a_thread_knows_for_whom_it_works() -> None:
    async def scenario() -> Actor:
        audit.act_as(Actor("ci"))
        return await Threads(1, wait_s=5, answer_s=None, busy="Busy.").run(audit.actor)

    assert asyncio.run(scenario()) == Actor("ci")
