"""The request to stop reaches everybody, at whatever moment the signal arrives."""

import subprocess
import sys
import threading

import pytest

from tests.services import patience
from worker.stop import Stop

PROGRAM = """
import signal, sys
from worker.stop import Stop

def strike(*_):
    signal.raise_signal(signal.SIGTERM)
    return strike

stop = Stop()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
sys.settrace(strike)  # The signal arrives before each line that is run.
is_set = stop.wait()
sys.settrace(None)
sys.exit(not is_set)
"""


def test_a_signal_at_any_moment_of_the_waiting_is_not_waited_for_for_ever() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=patience(60))


def test_all_who_wait_are_told() -> None:
    stop = Stop()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()

    assert not stop.is_set()
    assert not stop.wait(0.0)
    stop.set()
    for thread in threads:
        thread.join(patience(60))
        assert not thread.is_alive()
    assert stop.is_set()
    assert stop.wait()


@pytest.mark.parametrize("times", [1, 3])
def test_once_set_it_stays_set(times: int) -> None:
    stop = Stop()
    for _ in range(times):
        stop.set()
    assert [stop.wait(0.0) for _ in range(5)] == [True] * 5
