"""Uploads: which are removed, by whom, and that no crash leaves files that no row knows."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.errors import NotFoundError, SpoolError
from models.sources import spool as files_of
from models.sources.spool import Budget, Limits, Part
from models.store import deletion, jobs, uploads
from models.store.database import Database
from models.store.jobs import JobView, Submission
from models.store.tables import Upload, UploadFile
from models.store.uploads import UploadView
from tests.builders import count_rows

LIMITS = Limits(files=10, file_bytes=100, bytes=1000, ratio=10)


def filled(db: Database, spool: Path, *names: str) -> UploadView:
    view = uploads.create(db, spool)
    for name in names:
        part = Part(view.root, name.encode(), Budget(LIMITS))
        part.write(b"x")
        part.finish()
    return uploads.add_files(db, view.id, dict.fromkeys(names, 1), LIMITS)[0]


def submitted(db: Database, release_id: int, view: UploadView) -> JobView:
    return jobs.submit(db, Submission(view.folder.decode(), release_id, upload=view.id))[0]


def age(db: Database, view: UploadView, hours: float) -> None:
    with db.write() as connection:
        connection.execute(
            sa.update(Upload)
            .where(Upload.id == view.id)
            .values(used_at=view.used_at - timedelta(hours=hours))
        )


def test_uploads_that_nobody_made_a_job_of_are_removed(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    old, young, used = (filled(db, tmp_path / "spool", "a/b.jpg", "c.jpg") for _ in range(3))
    job = submitted(db, release_id, used)
    age(db, old, 25)
    age(db, young, 23)
    age(db, used, 25)

    uploads.expire(db, 24)
    with pytest.raises(NotFoundError):
        uploads.get(db, old.id)
    assert sorted(os.listdir(tmp_path / "spool")) == sorted([young.id, used.id])
    assert count_rows(db, UploadFile) == 4
    assert uploads.get(db, used.id).job_id == job.id
    assert jobs.get(db, job.id).upload == used.id


def test_a_file_that_arrives_late_keeps_its_upload(db: Database, tmp_path: Path) -> None:
    view = filled(db, tmp_path, "a.jpg")
    age(db, view, 25)
    uploads.add_files(db, view.id, {"b.jpg": 1}, LIMITS)
    uploads.expire(db, 24)
    assert uploads.get(db, view.id).files == 2


def test_the_row_stays_until_the_files_are_gone(
    db: Database, release_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = filled(db, tmp_path, "a.jpg", "b.jpg")
    job = submitted(db, release_id, view)
    unlink = os.unlink

    def unlink_one(path: bytes) -> None:
        unlink(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink_one)
        with pytest.raises(KeyboardInterrupt):
            deletion.delete(db, job.id)
    assert len(list(tmp_path.rglob("*.jpg"))) == 1
    assert count_rows(db, Upload) == 1

    deletion.delete_due(db, 0)
    uploads.expire(db, 24)
    assert list(tmp_path.glob(view.id)) == []
    assert count_rows(db, Upload) == count_rows(db, UploadFile) == 0


def test_a_removal_takes_up_where_the_time_of_another_ended(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = filled(db, tmp_path, "a.jpg", "b/c.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "REMOVE_S", 0.0)
        uploads.delete(db, view.id)
        assert count_rows(db, Upload) == 1
    uploads.remove_deleted(db)
    assert count_rows(db, Upload) == 0
    assert not (tmp_path / view.id).exists()


def test_a_host_with_another_spool_removes_no_row(
    db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    view = filled(db, tmp_path / "spool", "a.jpg")
    (tmp_path / "spool").rename(tmp_path / "away")
    (tmp_path / "spool").mkdir()
    uploads.delete(db, view.id)
    assert count_rows(db, Upload) == 1
    assert "CUEMILL_SPOOL" in caplog.text

    (tmp_path / "spool").rmdir()
    (tmp_path / "away").rename(tmp_path / "spool")
    uploads.remove_deleted(db)
    assert count_rows(db, Upload) == 0
    assert os.listdir(tmp_path / "spool") == []


def test_an_upload_whose_folder_cannot_be_created_leaves_no_row(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise SpoolError("no")

    monkeypatch.setattr(files_of, "create", fail)
    with pytest.raises(SpoolError):
        uploads.create(db, tmp_path)
    assert count_rows(db, Upload) == 0


def test_a_killed_creation_is_finished_by_the_same_key(db: Database, tmp_path: Path) -> None:
    first = uploads.create(db, tmp_path, "k")
    assert files_of.remove(first.root, float("inf"))
    again = uploads.create(db, tmp_path, "k")
    assert (again, again.root.is_dir()) == (first, True)
    uploads.delete(db, first.id)
    assert uploads.create(db, tmp_path, "k").id != first.id


def test_the_same_files_under_the_same_key_are_the_same_job(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    def submit(content: str) -> tuple[int, bool]:
        view = filled(db, tmp_path, "a.jpg")
        submission = Submission(
            view.folder.decode(), release_id, upload=view.id, content=content, idempotency_key="k"
        )
        job, is_new = jobs.submit(db, submission)
        return job.id, is_new

    first, _ = submit("one")
    assert submit("one") == (first, False)
