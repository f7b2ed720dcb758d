"""What a process loads before it claims: a host that cannot load it stays away."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from models.health.checks import State, check_workers
from models.health.snapshot import take_snapshot
from models.pictures.detection import THRESHOLD, WHOLE, FaceMode
from models.release.detectors import choose_detection
from models.settings import Settings
from models.store import heartbeats, jobs, releases, troubles
from models.store.database import Database, now_s
from models.store.jobs import Submission
from models.store.tables import Batch, ModelRelease, Trouble
from tests.builders import count_rows, submit_job
from worker.load import Loader
from worker.pipeline import Pipeline
from worker.scan import scan


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return Settings(_env_file=None, model=tiny_model)


@pytest.fixture
def sha256(db: Database, release_id: int) -> str:
    return releases.get(db, release_id).sha256


def end_pauses(db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.update(Trouble).values(not_before=now_s() - 1))


@pytest.mark.parametrize("error", [KeyError("uid not found"), MemoryError(), OSError(24, "files")])
def test_whatever_keeps_a_network_from_being_loaded_is_the_hosts_trouble(
    db: Database,
    release_id: int,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    submit_job(db, release_id, images=1)
    heartbeats.beat(db, "h:1:t", 1, None, None)

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as host:
        host.setattr("worker.load.load_engine", fail)
        pipeline = Pipeline(db, settings, "h:2:t", "h:1:t")
        assert not pipeline.run()
        assert not pipeline.run()
    assert count_rows(db, Trouble) == 1
    with db.read() as connection:
        assert connection.execute(sa.select(Batch.state, Batch.attempt)).one() == ("queued", 0)

    check = check_workers(take_snapshot(db))
    assert check.state is State.PROBLEM
    assert f"h:1:t stays away from some jobs: {type(error).__name__}" in check.message

    # Another host takes it, and this one again once it can.
    assert Pipeline(db, settings, "other:2:t", "other:1:t").run()
    submit_job(db, release_id, images=1)
    assert not Pipeline(db, settings, "h:2:t", "h:1:t").run()
    end_pauses(db)
    assert Pipeline(db, settings, "h:2:t", "h:1:t").run()
    assert count_rows(db, Trouble) == 0


def test_a_release_whose_file_is_gone_is_the_hosts_trouble(
    db: Database, sha256: str, settings: Settings, tmp_path: Path
) -> None:
    with db.write() as connection:
        connection.execute(sa.update(ModelRelease).values(path=str(tmp_path / "gone.pkl")))
    elsewhere = settings.model_copy(update={"model": tmp_path / "gone.pkl"})
    assert not Loader(db, elsewhere, "h:1:t").load(sha256, WHOLE)
    with db.read() as connection:
        assert connection.scalar(sa.select(Trouble.code)) == "pickle_missing"


def test_a_process_that_dies_of_loading_is_noticed_by_the_next_one(
    db: Database, sha256: str, settings: Settings
) -> None:
    with subprocess.Popen(["true"]) as process:
        dead = process.pid
    assert troubles.begin(db, "h:1:t", sha256, "the network")
    # Another process of the program may load it at the same time.
    assert troubles.begin(db, "h:1:t", sha256, "the network")
    with db.write() as connection:
        connection.execute(sa.update(Trouble).values(process=dead))

    loader = Loader(db, settings, "h:1:t")
    assert not loader.load(sha256, WHOLE)
    with db.read() as connection:
        row = connection.execute(sa.select(Trouble.__table__)).one()
    assert (row.process, row.tries) == (None, 1)
    assert "died while it loaded" in row.reason
    assert not loader.load(sha256, WHOLE)
    end_pauses(db)
    assert loader.load(sha256, WHOLE)


def test_the_last_attempts_reason_holds_while_another_one_is_under_way(
    db: Database, sha256: str, settings: Settings
) -> None:
    assert troubles.begin(db, "h:1:t", sha256, "the network")
    troubles.fail(db, "h:1:t", sha256, MemoryError("too little"))
    end_pauses(db)

    assert troubles.begin(db, "h:1:t", sha256, "the network")
    with db.read() as connection:
        assert connection.scalar(sa.select(Trouble.reason)) == "MemoryError: too little."


def test_a_program_that_ends_leaves_no_trouble_behind(db: Database, sha256: str) -> None:
    heartbeats.beat(db, "h:1:t", 1, None, None)
    assert troubles.begin(db, "h:1:t", sha256, "the network")
    heartbeats.leave(db, "h:1:t")
    assert count_rows(db, Trouble) == 0


def test_a_detector_that_cannot_be_loaded_keeps_no_other_job_waiting(
    db: Database, release_id: int, settings: Settings, tmp_path: Path
) -> None:
    """The pictures of the older job need it."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (800, 600)).save(folder / "a.png")
    detection = choose_detection(FaceMode.AUTO, 20, THRESHOLD)
    for found in (replace(detection, detector_sha256="0" * 64), WHOLE):
        job, _ = jobs.submit(db, Submission(str(folder), release_id, detection=found))
        scan(db, settings, "h:2:t", job.id, lambda: None, lambda: None)

    pipeline = Pipeline(db, settings, "h:2:t", "h:1:t")
    # The first batch goes back, uncounted, as its detector is not loaded; nor can it be.
    assert [pipeline.run() for _ in range(3)] == [True, True, False]
    assert [job.status for job in jobs.list_newest(db)] == ["completed", "running"]


def test_a_detector_is_loaded_once_a_picture_needs_it(
    db: Database, release_id: int, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (800, 600)).save(folder / "a.png")
    detection = choose_detection(FaceMode.AUTO, 20, THRESHOLD)
    job, _ = jobs.submit(db, Submission(str(folder), release_id, detection=detection))
    scan(db, settings, "h:2:t", job.id, lambda: None, lambda: None)

    pipeline = Pipeline(db, settings, "h:2:t", "h:1:t")
    assert [pipeline.run() for _ in range(3)] == [True, True, False]
    assert jobs.get(db, job.id).counts.no_face == 1
