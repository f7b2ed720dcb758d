"""Predictions used again: a real worker's pipeline over real files, on both databases."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.release.files import save_release
from models.settings import Settings
from models.store import deletion, jobs, releases, results, reuse
from models.store.database import Database
from models.store.jobs import JobView, Submission
from models.store.results import Filter, Record
from models.store.states import JobStatus
from models.store.tables import Image
from tests.builders import tiny_release
from tests.integration.deployment import make_faces
from worker.pipeline import Pipeline
from worker.scan import scan

Run = Callable[..., JobView]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_faces(tmp_path / "faces", 10)


@pytest.fixture
def run(db: Database, release_id: int, folder: Path, tiny_model: Path) -> Run:
    """Submits a job for the folder and runs it to its end."""
    settings = Settings(_env_file=None, model=tiny_model)
    pipeline = Pipeline(db, settings, "worker")

    def run(**options: Any) -> JobView:
        asked = Submission(str(folder), release_id, batch_size=4)
        job, _ = jobs.submit(db, replace(asked, **options))
        scan(db, settings, "worker", job.id, lambda: None, lambda: None)
        while pipeline.run(job_id=job.id):
            pass
        ended = jobs.get(db, job.id)
        assert ended.status is JobStatus.COMPLETED
        return ended

    return run


def found(db: Database, job: JobView) -> dict[str, Record]:
    """The job's results by path, apart from whose they are."""
    return {r.path: replace(r, job_id=0, cursor="") for r in results.stream(db, Filter(job.id))}


def make_as_long(*paths: Path) -> None:
    """Gives files one size, by what decoders pass over."""
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))


def put_in_place(path: Path, data: bytes) -> None:
    """Changes a file's bytes, and nothing else that can be told from outside."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_folder_that_has_not_changed_is_not_classified_again(db: Database, run: Run) -> None:
    first, second = run(), run()
    assert (first.reused, first.counts.classified) == (0, 10)
    assert (second.reused, second.counts.classified) == (10, 10)
    assert found(db, second) == found(db, first)
    with db.read() as connection:
        marked = connection.execute(sa.select(Image.job_id).where(Image.reused)).scalars().all()
    assert marked == 10 * [second.id]


def test_what_is_all_reused_needs_no_network(
    db: Database, run: Run, folder: Path, tiny_model: Path
) -> None:
    first = run()
    with db.write() as connection:
        connection.execute(sa.text("UPDATE model_releases SET path = '/gone'"))
    job, _ = jobs.submit(db, Submission(str(folder), first.model_release_id))
    settings = Settings(_env_file=None, model=Path("/gone"))
    scan(db, settings, "worker", job.id, lambda: None, lambda: None)
    assert Pipeline(db, settings, "worker").run(job_id=job.id)
    assert jobs.get(db, job.id).reused == 10


def test_only_files_that_changed_or_are_new_are_classified(
    db: Database, run: Run, folder: Path
) -> None:
    first = run()
    shutil.copy(folder / "face-00001.jpg", folder / "face-00002.jpg")
    make_faces(folder / "new", 1, size=60)
    (folder / "face-00003.jpg").rename(folder / "moved.jpg")
    second = run()
    assert (second.counts.classified, second.reused) == (11, 10)
    before, after = found(db, first), found(db, second)
    assert after["moved.jpg"].scores == before["face-00003.jpg"].scores
    assert after["face-00002.jpg"].scores == before["face-00001.jpg"].scores
    fresh = run(fresh=True)
    assert fresh.reused == 0
    assert {path: r.emotion for path, r in found(db, fresh).items()} == {
        p: r.emotion for p, r in after.items()
    }


def test_a_file_that_could_not_be_read_is_tried_again(run: Run, folder: Path) -> None:
    (folder / "face-00004.jpg").write_bytes(b"")
    assert run().counts.unreadable == 1
    again = run()
    assert (again.counts.unreadable, again.reused) == (1, 9)
    shutil.copy(folder / "face-00005.jpg", folder / "face-00004.jpg")
    assert (run().counts.classified, run().reused) == (10, 10)


def test_another_release_predicts_for_itself(db: Database, run: Run, tmp_path: Path) -> None:
    run()
    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    other = releases.register(db, tmp_path / "other.pkl")
    job = run(model_release_id=other)
    assert job.reused == 0
    assert {r.model for r in found(db, job).values()} == {"other"}
    assert run(model_release_id=other).reused == 10


def test_predictions_outlive_the_job_that_made_them(db: Database, run: Run) -> None:
    first = run()
    run()
    deletion.delete(db, first.id)
    assert run().reused == 10


def test_size_and_time_are_trusted_only_on_request(db: Database, run: Run, folder: Path) -> None:
    one, other = folder / "face-00001.jpg", folder / "face-00002.jpg"
    make_as_long(one, other)
    before = found(db, run())
    put_in_place(one, other.read_bytes())
    trusting = run(trust_mtime=True)
    assert trusting.reused == 10
    assert found(db, trusting) == before
    reading = found(db, run())
    assert reading[one.name].scores == reading[other.name].scores != before[one.name].scores


def test_a_file_with_another_time_is_read_even_when_times_are_trusted(
    db: Database, run: Run, folder: Path
) -> None:
    run()
    shutil.copy(folder / "face-00002.jpg", folder / "face-00001.jpg")
    os.utime(folder / "face-00001.jpg", ns=(1, 1))
    after = found(db, run(trust_mtime=True))
    assert after["face-00001.jpg"].scores == after["face-00002.jpg"].scores


def test_what_is_taken_on_trust_is_not_read(run: Run, folder: Path) -> None:
    run()
    path = folder / "face-00001.jpg"
    put_in_place(path, b"\0" * path.stat().st_size)
    assert run(trust_mtime=True).counts.classified == 10
    assert run().counts.unreadable == 1


def test_links_are_always_read(db: Database, run: Run, folder: Path) -> None:
    (folder / "link.jpg").symlink_to(folder / "face-00001.jpg")
    run()
    shutil.copy(folder / "face-00002.jpg", folder / "face-00001.jpg")
    after = found(db, run(trust_mtime=True))
    assert after["link.jpg"].scores == after["face-00002.jpg"].scores


def test_the_first_job_of_a_release_looks_nothing_up(
    db: Database, run: Run, release_id: int
) -> None:
    first = run()
    assert not reuse.find_scope(db, first.id, release_id).lookup
    second = run()
    assert reuse.find_scope(db, second.id, release_id).lookup


def test_as_many_fingerprints_as_a_batch_can_have_are_looked_up_at_once(
    db: Database, run: Run
) -> None:
    first = run()
    with db.read() as connection:
        found = connection.scalars(sa.select(Image.fingerprint).where(Image.job_id == first.id))
        known = [fingerprint for fingerprint in found if fingerprint is not None]
    assert len(known) == 10
    unknown = [i.to_bytes(reuse.DIGEST_BYTES, "big") for i in range(1024)]
    assert set(reuse.find_by_fingerprint(db, first.id + 1, [*unknown, *known])) == set(known)
    assert reuse.find_by_fingerprint(db, first.id, known) == {}
    assert reuse.find_by_fingerprint(db, first.id + 1, []) == {}
