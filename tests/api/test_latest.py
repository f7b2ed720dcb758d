"""Reads that many share."""

import asyncio
from functools import partial

import pytest

from api import latest
from api.latest import Latest


def test_sixty_readers_share_a_read_and_the_next_comes_after_the_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latest, "PERIOD_S", 0.05)
    reads: list[str] = []

    async def call(key: str) -> int:
        reads.append(key)
        await asyncio.sleep(0)
        return len(reads)

    async def scenario() -> None:
        shared = Latest()
        for number in (1, 2):
            waiting = [shared.read("job", partial(call, "job")) for _ in range(60)]
            assert await asyncio.gather(*waiting) == [number] * 60
            while shared._reads:
                await asyncio.sleep(0.01)
        await asyncio.gather(*(shared.read(key, partial(call, key)) for key in "abab"))
        assert reads == ["job", "job", "a", "b"]

    asyncio.run(scenario())


def test_a_reader_that_goes_away_leaves_the_answer_to_the_others() -> None:
    async def call() -> int:
        await asyncio.sleep(0.01)
        return 7

    async def scenario() -> None:
        shared = Latest()
        first, second = (asyncio.create_task(shared.read("job", call)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 7

    asyncio.run(scenario())


def test_an_error_is_everybodys() -> None:
    async def call() -> int:
        raise ZeroDivisionError

    async def scenario() -> None:
        shared = Latest()
        answers = await asyncio.gather(
            *(shared.read("job", call) for _ in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3

    asyncio.run(scenario())
