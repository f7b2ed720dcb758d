"""Repeating an action on a thread beside the work."""

import logging
import subprocess
import sys
import threading

import pytest

from models.logs import about
from tests.logs import json_lines
from tests.services import patience, wait_until
from worker.repeat import repeat_in_background


def test_an_action_is_repeated_until_the_block_ends() -> None:
    calls: list[bool] = []
    with repeat_in_background(lambda: calls.append(True), 0.01, "test") as thread:
        wait_until(lambda: len(calls) >= 3, "three calls")
    assert not thread.is_alive()


def test_what_the_thread_logs_is_about_what_the_block_works_on() -> None:
    def fail() -> None:
        raise ValueError

    with (
        about(job=7),
        json_lines("worker.repeat") as lines,
        repeat_in_background(fail, 0.01, "test"),
    ):
        wait_until(lambda: bool(lines), "a line")

    assert lines[0]["job"] == 7


def test_the_end_of_the_block_does_not_wait_for_an_action_that_hangs() -> None:
    answer = threading.Event()

    def hang() -> None:
        answer.wait(60)

    with repeat_in_background(hang, 0.01, "test") as thread:
        pass
    assert thread.is_alive()
    answer.set()
    thread.join(patience(10))
    assert not thread.is_alive()


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), KeyError(1)])
def test_an_action_that_raises_is_logged_with_its_traceback_and_called_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[bool] = []

    def raise_at_first() -> None:
        calls.append(True)
        if len(calls) == 1:
            raise error

    with repeat_in_background(raise_at_first, 0.01, "renewal"):
        wait_until(lambda: len(calls) >= 3, "calls after the one that raised")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("renewal failed; trying again")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_program_ends_with_a_thread_that_it_depends_on() -> None:
    program = """
import sys, threading
from worker.repeat import repeat_in_background
with repeat_in_background(sys.exit, 1, "renewal"):
    threading.Event().wait(60)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "renewal ended by an error; so does this program" in ended.stderr
    assert "SystemExit" in ended.stderr
