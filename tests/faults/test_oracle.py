"""The oracle sees what it is asked for: each fault, made by hand, is counted."""

from dataclasses import asdict
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.store import batches, jobs
from models.store.database import Database
from models.store.jobs import Submission
from models.store.tables import Batch, Image, Job, Prediction, Worker
from tests.builders import add_release, claim_batch, list_folder, records_of, touch
from tests.faults.oracle import Verdict, judge, read_truth, watch


@pytest.fixture
def sound(db: Database, release_id: int, tmp_path: Path) -> Database:
    """Two completed jobs, of two folders with other names."""
    watch(url_of(db))
    names = [f"{number:03}.jpg" for number in range(4)]
    touch(tmp_path / "one", *names)
    touch(tmp_path / "other", "elsewhere.jpg")
    for folder, images in (("one", 4), ("other", 0)):
        submission = Submission(str(tmp_path / folder), release_id)
        job, _ = jobs.submit(db, submission)
        list_folder(db, job, images) if images else list_nothing(db, job.id)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim))
    return db


def list_nothing(db: Database, job_id: int) -> None:
    with db.write() as connection:
        ended = {"status": "completed", "scanned_at": Job.queued_at}
        connection.execute(sa.update(Job).where(Job.id == job_id).values(ended))


def url_of(db: Database) -> str:
    return db.url.render_as_string(hide_password=False)


FAULTS: dict[str, list[sa.Executable]] = {
    "stuck": [sa.update(Job).where(Job.id == 2).values(status="running")],
    "partial": [sa.update(Job).where(Job.id == 2).values(total=1, cancelled=1)],
    "misplaced": [sa.update(Image).where(Image.number == 0).values(path="elsewhere.jpg")],
    "lost": [
        sa.delete(Prediction).where(Prediction.number == 0),
        sa.delete(Image).where(Image.number == 0),
    ],
    "unswept": [
        sa.insert(Worker).values(
            name="h:1:t", processes=1, started=0, progressed=0, seen=100, swept=90
        )
    ],
    "unfinished": [sa.update(Batch).values(state="queued")],
}


def test_a_sound_database_has_no_fault(sound: Database) -> None:
    assert judge(url_of(sound), {1: 4, 2: 0}) == Verdict()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_counted(sound: Database, fault: str) -> None:
    with sound.write() as connection:
        for statement in FAULTS[fault]:
            connection.execute(statement)
    assert asdict(judge(url_of(sound), {1: 4, 2: 0}))[fault] == 1


def test_predictions_by_another_release_than_the_jobs_are_misplaced(sound: Database) -> None:
    other = add_release(sound, "other")
    with sound.write() as connection:
        connection.execute(sa.update(Prediction).values(model_release_id=other))
    assert judge(url_of(sound), {1: 4, 2: 0}).misplaced == 4


def test_a_sound_image_that_is_called_unreadable_is_blamed(sound: Database) -> None:
    truth = read_truth(url_of(sound))
    with sound.write() as connection:
        values = {"outcome": "unreadable", "error_code": "read_error"}
        connection.execute(sa.update(Image).where(Image.number < 3).values(values))
    assert judge(url_of(sound), {1: 4, 2: 0}, truth).blamed == 3
