"""Repeating an action on a thread beside the work."""

import threading

from tests.services import wait_until
from worker.repeat import repeat_in_background


def test_an_action_is_repeated_until_the_block_ends() -> None:
    calls: list[bool] = []
    with repeat_in_background(lambda: calls.append(True), 0.01, "test") as thread:
        wait_until(lambda: len(calls) >= 3, "three calls")
    assert not thread.is_alive()


def test_the_end_of_the_block_does_not_wait_for_an_action_that_hangs() -> None:
    answer = threading.Event()

    def hang() -> None:
        answer.wait(60)

    with repeat_in_background(hang, 0.01, "test") as thread:
        pass
    assert thread.is_alive()
    answer.set()
    thread.join(10)
    assert not thread.is_alive()
