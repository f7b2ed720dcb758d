"""The Celery worker program, without its broker: its sweep."""

import pytest

from models.queue import make_app
from models.settings import Settings
from tests.services import patience, wait_until
from worker.broker.program import CeleryWorker
from worker.repeat import start_thread

SETTINGS = Settings(_env_file=None, sweep_s=0.1)


def test_a_sweep_that_raises_is_logged_with_its_traceback_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = OSError(24, "Too many open files")
    sweeps: list[bool] = []

    def sweep() -> bool:
        sweeps.append(True)
        if len(sweeps) == 1:
            raise error
        return False

    worker = CeleryWorker(make_app("redis://127.0.0.1:1/0"), SETTINGS, sweep)
    thread = start_thread(worker._sweep_until_stopped, "sweep")
    wait_until(lambda: len(sweeps) >= 3, "sweeps after the one that raised")
    worker.stopping.set()
    thread.join(patience(10))
    assert not thread.is_alive()
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
