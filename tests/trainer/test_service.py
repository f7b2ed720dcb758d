"""The training worker: its polling."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.settings import Settings
from models.store.database import open_database
from trainer import service


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_poll_that_raises_is_logged_with_its_traceback_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error = OSError(24, "Too many open files")
    polls: list[bool] = []

    def poll(worker: service.TrainingWorker) -> bool:
        polls.append(True)
        if len(polls) == 1:
            raise error
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    monkeypatch.setattr(service.TrainingWorker, "run", poll)
    settings = Settings(_env_file=None, data_dir=tmp_path, sweep_s=0.1)
    db = open_database(settings)
    db.upgrade()
    service.run_training_worker(settings, db)
    db.close()
    assert len(polls) == 2
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
