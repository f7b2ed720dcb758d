"""The training worker: its polling, and where it keeps its epochs."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.settings import Settings
from models.store.database import open_database
from models.store.trainings import TrainingClaim
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


def test_a_training_resumes_in_its_own_folder_and_not_in_that_of_another_with_its_id(
    tmp_path: Path,
) -> None:
    """Ids repeat after a backup was restored."""
    claim = TrainingClaim(7, 1, 4801, {"candidates": ["model1"], "seed": 0})
    resumed = replace(claim, attempt=2, nonce=9173, plan=dict(reversed(claim.plan.items())))
    another = replace(claim, plan={**claim.plan, "seed": 1})

    folder = service.choose_folder(tmp_path, claim)
    assert folder.parent == tmp_path / "trainings"
    assert service.choose_folder(tmp_path, resumed) == folder
    assert service.choose_folder(tmp_path, another) != folder
