"""One batch from claim to record: its images' outcomes and faces, and what goes wrong."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from models.pictures.detection import THRESHOLD, WHOLE, FaceMode
from models.release.detectors import SHIPPED, choose_detection
from models.release.files import save_release
from models.settings import Settings
from models.store import heartbeats, jobs, releases, results, retries, troubles
from models.store.database import Database, now_s
from models.store.filters import ResultFilter
from models.store.jobs import JobView, Submission
from models.store.states import JobStatus, Outcome
from models.store.tables import Batch, Job, ModelRelease, Trouble
from samples.faces import GRIN, draw
from tests.builders import age_rows, tiny_release
from tests.integration.deployment import make_faces
from tests.logs import json_lines
from worker.pipeline import Pipeline
from worker.scan import scan


def test_scores_that_are_not_finite_make_an_image_fail(db: Database, tmp_path: Path) -> None:
    tiny = tiny_release()
    overflowing = {**tiny.weights, "dense/kernel": np.full((288, 28), 3e38, np.float32)}
    model = tmp_path / "overflowing.pkl"
    save_release(replace(tiny, weights=overflowing), model)
    settings = Settings(_env_file=None, model=model)
    submission = Submission(str(make_faces(tmp_path / "faces", 3)), releases.register(db, model))
    job, _ = jobs.submit(db, submission)

    scan(db, settings, "worker", job.id, lambda: None, lambda: None)
    assert Pipeline(db, settings, "worker").run(job_id=job.id)

    for record in results.stream(db, ResultFilter(job.id)):
        assert (record.outcome, record.scores) == (Outcome.FAILED, None)
        assert record.error is not None
        assert record.error["code"] == "not_finite"
    view = jobs.get(db, job.id)
    assert (view.status, view.counts.failed) == (JobStatus.COMPLETED, 3)


def test_a_worker_outlives_a_restored_backup_in_which_a_releases_id_is_anothers(
    db: Database, tiny_model: Path, tmp_path: Path
) -> None:
    tiny = tiny_release()
    other = tmp_path / "other.pkl"
    other_bias = tiny.weights["dense/bias"][::-1].copy()
    sha256 = save_release(replace(tiny, weights={**tiny.weights, "dense/bias": other_bias}), other)
    faces = str(make_faces(tmp_path / "faces", 3))
    submission = Submission(faces, releases.register(db, tiny_model), fresh=True)
    settings = Settings(_env_file=None, model=tiny_model)
    pipeline = Pipeline(db, settings, "worker")

    def classify() -> list[dict[str, float] | None]:
        job, _ = jobs.submit(db, submission)
        scan(db, settings, "worker", job.id, lambda: None, lambda: None)
        assert pipeline.run(job_id=job.id)
        return [record.scores for record in results.stream(db, ResultFilter(job.id))]

    before = classify()
    with db.write() as connection:
        connection.execute(sa.update(ModelRelease).values(sha256=sha256, path=str(other)))
    after = classify()

    assert len(before) == len(after) == 3
    assert all(old != new for old, new in zip(before, after, strict=True))


def photographs(folder: Path) -> Path:
    """Two faces in one picture, none in another, and a crop."""
    folder.mkdir()
    face = draw(GRIN, 240, 240)
    group = Image.new("RGB", (800, 600), (110, 120, 130))
    group.save(folder / "empty.png")
    for place in ((60, 40), (500, 300)):
        group.paste(face, place)
    group.save(folder / "group.png")
    face.resize((48, 48)).save(folder / "crop.png")
    return folder


def run_job(db: Database, model: Path, submission: Submission) -> JobView:
    """Runs a job to its end, as an embedded worker does."""
    settings = Settings(_env_file=None, model=model)
    job, _ = jobs.submit(db, submission)
    scan(db, settings, "worker", job.id, lambda: None, lambda: None)
    pipeline = Pipeline(db, settings, "worker")
    while pipeline.run(job_id=job.id):
        pass
    return jobs.get(db, job.id)


def found(db: Database, job: JobView) -> dict[str, list[Any]]:
    """The boxes by path; None for a picture that was taken whole."""
    boxes: dict[str, list[Any]] = {}
    for record in results.stream(db, ResultFilter(job.id)):
        of_image = boxes.setdefault(record.path, [])
        if record.face is not None:
            of_image.append(record.face["box"])
    return boxes


def test_a_job_finds_and_counts_the_faces_of_its_pictures(
    db: Database, tiny_model: Path, tmp_path: Path
) -> None:
    submission = Submission(
        str(photographs(tmp_path / "photographs")),
        releases.resolve(db, None, tiny_model),
        detection=choose_detection(FaceMode.AUTO, 20, THRESHOLD),
    )
    job = run_job(db, tiny_model, submission)
    boxes = found(db, job)

    assert (job.counts.classified, job.counts.no_face, job.faces) == (2, 1, 3)
    assert (boxes["crop.png"], boxes["empty.png"], len(boxes["group.png"])) == ([None], [], 2)
    assert all(120 < box["width"] < 260 for box in boxes["group.png"])

    # A second job reuses all of it, a picture without a face included.
    again = run_job(db, tiny_model, submission)
    assert (again.reused, again.counts.no_face, again.faces) == (2, 1, 3)
    assert found(db, again) == boxes
    trusting = run_job(db, tiny_model, replace(submission, trust_mtime=True))
    assert (trusting.reused, found(db, trusting)) == (2, boxes)

    # What another detection found is not reused.
    whole = run_job(db, tiny_model, replace(submission, detection=WHOLE))
    assert (whole.reused, whole.counts.no_face, whole.faces) == (0, 0, 3)
    stricter = replace(submission, detection=choose_detection(FaceMode.AUTO, 300, THRESHOLD))
    assert run_job(db, tiny_model, stricter).counts.no_face == 2


def test_a_stale_retry_replaces_all_faces_of_a_picture(
    db: Database, tiny_model: Path, tmp_path: Path
) -> None:
    submission = Submission(
        str(photographs(tmp_path / "photographs")),
        releases.resolve(db, None, tiny_model),
        detection=choose_detection(FaceMode.DETECT, 20, THRESHOLD),
    )
    job = run_job(db, tiny_model, submission)

    newer = tmp_path / "newer.pkl"
    save_release(replace(tiny_release(), name="newer"), newer)
    _, count = retries.retry(db, job.id, present_release=releases.register(db, newer))
    pipeline = Pipeline(db, Settings(_env_file=None, model=newer), "worker")
    while pipeline.run(job_id=job.id):
        pass

    assert count == job.counts.classified
    view = jobs.get(db, job.id)
    assert (view.faces, view.counts) == (job.faces, job.counts)
    models = {r.model for r in results.stream(db, ResultFilter(job.id)) if r.scores is not None}
    assert models == {"newer"}


def test_a_job_whose_detector_was_changed_waits_and_fails_if_no_living_host_has_it(
    db: Database, tiny_model: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(SHIPPED.read_bytes())
    detection = replace(
        choose_detection(FaceMode.DETECT, 20, THRESHOLD, own), detector_sha256="0" * 64
    )
    submission = Submission(
        str(photographs(tmp_path / "photographs")),
        releases.resolve(db, None, tiny_model),
        detection=detection,
    )
    job = run_job(db, tiny_model, submission)
    assert (job.status, job.counts.pending) == (JobStatus.RUNNING, 3)

    # Two programs live; one of them cannot do it, for an hour and three tries.
    age_rows(db, 3600.0)
    for program in ("worker", "another"):
        heartbeats.beat(db, program, 1, None, None)
    with db.write() as connection:
        connection.execute(sa.update(Trouble).values(tries=3, since=0.0))
    troubles.give_up(db, give_up_s=600.0)
    assert jobs.get(db, job.id).status is JobStatus.RUNNING

    heartbeats.leave(db, "another")
    troubles.give_up(db, give_up_s=4000.0)
    assert jobs.get(db, job.id).status is JobStatus.RUNNING

    troubles.give_up(db, give_up_s=600.0)
    job = jobs.get(db, job.id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == (JobStatus.FAILED, "engine")
    assert str(own) in job.error["message"]


def fail_reading(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Reading a file of this name fails, as on a bad drive."""
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(name):
            raise OSError(number, os.strerror(number))
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", read)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_an_image_that_a_drive_refuses_is_tried_again_and_says_so_only_in_the_end(
    db: Database,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    fail_reading(monkeypatch, "face-00001.jpg", number)
    submission = Submission(str(folder), releases.resolve(db, None, tiny_model))
    job = run_job(db, tiny_model, submission)
    assert (job.counts.classified, job.counts.pending) == (2, 1)

    settings = Settings(_env_file=None, model=tiny_model, give_up_s=600.0)
    for tries, since_s in ((5, 10.0), (1, 700.0), (5, 700.0)):
        assert jobs.get(db, job.id).status is JobStatus.RUNNING
        with db.write() as connection:
            since = now_s() - since_s
            values = {"tries": tries, "troubled_since": since, "not_before": None}
            connection.execute(sa.update(Batch).where(Batch.state == "queued").values(values))
        assert Pipeline(db, settings, "worker").run()

    job = jobs.get(db, job.id)
    assert (job.status, job.counts.unreadable) == (JobStatus.COMPLETED, 1)
    (row,) = results.page(db, ResultFilter(job.id, outcome=Outcome.UNREADABLE))
    assert row.error == {
        "code": "read_error",
        "message": f"The file cannot be read: {os.strerror(number)}.",
    }
    assert results.count_troubled(db, job.id) == 1


@pytest.mark.parametrize("is_replaced", [False, True])
def test_no_image_is_called_vanished_while_its_folder_is_gone_or_another_one(
    db: Database, tiny_model: Path, tmp_path: Path, is_replaced: bool
) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    job, _ = jobs.submit(db, Submission(str(folder), releases.resolve(db, None, tiny_model)))
    scan(db, Settings(), "worker", job.id, lambda: None, lambda: None)
    away = folder.rename(tmp_path / "away")
    if is_replaced:
        folder.mkdir()

    pipeline = Pipeline(db, Settings(_env_file=None, model=tiny_model), "worker")
    with json_lines("worker.pipeline") as lines:
        assert pipeline.run()
    assert [(line["job"], line["batch"], line["attempt"]) for line in lines] == [(job.id, 1, 1)]

    view = jobs.get(db, job.id)
    assert (view.counts.pending, view.status) == (3, JobStatus.RUNNING)
    assert view.trouble is not None
    assert str(folder) in view.trouble
    assert not pipeline.run()

    if is_replaced:
        folder.rmdir()
    away.rename(folder)
    with db.write() as connection:
        connection.execute(sa.update(Job).values(not_before=None))
    assert pipeline.run()
    assert jobs.get(db, job.id).counts.classified == 3


@pytest.mark.parametrize("is_left_empty", [False, True])
def test_no_image_is_called_vanished_while_a_folder_below_the_jobs_may_be_unmounted(
    db: Database, tiny_model: Path, tmp_path: Path, is_left_empty: bool
) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    drive = make_faces(folder / "drive", 2)
    job, _ = jobs.submit(db, Submission(str(folder), releases.resolve(db, None, tiny_model)))
    scan(db, Settings(), "worker", job.id, lambda: None, lambda: None)
    (folder / "face-00000.jpg").unlink()
    away = drive.rename(tmp_path / "away")
    if is_left_empty:
        drive.mkdir()

    pipeline = Pipeline(db, Settings(_env_file=None, model=tiny_model), "worker")
    assert pipeline.run()
    counts = jobs.get(db, job.id).counts
    assert (counts.classified, counts.unreadable, counts.pending) == (2, 1, 2)

    if is_left_empty:
        drive.rmdir()
    away.rename(drive)
    with db.write() as connection:
        connection.execute(sa.update(Batch).values(not_before=None))
    assert pipeline.run()
    assert jobs.get(db, job.id).counts.classified == 4


def test_a_host_without_memory_says_so_only_in_the_end(
    db: Database, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("worker.pipeline._score", fail)
    submission = Submission(
        str(make_faces(tmp_path / "faces", 2)), releases.resolve(db, None, tiny_model)
    )
    job = run_job(db, tiny_model, submission)
    assert job.counts.pending == 2

    with db.write() as connection:
        values = {"tries": 5, "troubled_since": now_s() - 700, "not_before": None}
        connection.execute(sa.update(Batch).values(values))
    assert Pipeline(db, Settings(_env_file=None, model=tiny_model), "worker").run()
    records = results.page(db, ResultFilter(job.id, outcome=Outcome.FAILED))
    assert [(record.error or {})["code"] for record in records] == ["out_of_memory"] * 2
