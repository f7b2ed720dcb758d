"""Reuse of predictions: a worker's pipeline over real files, on both databases."""

import os
import secrets
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
from models.store.filters import ResultFilter
from models.store.jobs import JobView, Submission
from models.store.results import Record
from models.store.states import JobStatus
from models.store.tables import Image
from tests.builders import tiny_release
from tests.integration.deployment import make_faces
from worker.pipeline import Pipeline
from worker.scan import scan

Run = Callable[..., JobView]

PATH_MAX = 4096
"""Linux: the longest path in bytes, with the zero that ends it."""
YEAR_2264_NS = 9_300_000_000 * 10**9
"""ext4 keeps it, but 64 bits end in 2262."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_faces(tmp_path / "faces", 10)


@pytest.fixture
def run(db: Database, release_id: int, folder: Path, tiny_model: Path) -> Run:
    """Submits a job for the folder and completes it."""
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


def results_by_path(db: Database, job: JobView) -> dict[str, Record]:
    """The job's results by path, without the job's id."""
    return {
        r.path: replace(r, job_id=0, cursor="") for r in results.stream(db, ResultFilter(job.id))
    }


def pad_to_same_size(*paths: Path) -> None:
    """Pads files to the same size with bytes that decoders ignore."""
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Changes a file's bytes, but neither its size nor its time."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_unchanged_folder_is_not_classified_again(db: Database, run: Run) -> None:
    first, second = run(), run()
    assert (first.reused, first.counts.classified) == (0, 10)
    assert (second.reused, second.counts.classified) == (10, 10)
    assert results_by_path(db, second) == results_by_path(db, first)
    with db.read() as connection:
        marked = connection.execute(sa.select(Image.job_id).where(Image.reused)).scalars().all()
    assert marked == 10 * [second.id]


def test_only_changed_and_new_files_are_classified(db: Database, run: Run, folder: Path) -> None:
    first = run()
    shutil.copy(folder / "face-00001.jpg", folder / "face-00002.jpg")
    make_faces(folder / "new", 1, size=60)
    (folder / "face-00003.jpg").rename(folder / "moved.jpg")
    second = run()
    assert (second.counts.classified, second.reused) == (11, 10)

    before, after = results_by_path(db, first), results_by_path(db, second)
    assert after["moved.jpg"].scores == before["face-00003.jpg"].scores
    assert after["face-00002.jpg"].scores == before["face-00001.jpg"].scores

    fresh = run(fresh=True)
    assert fresh.reused == 0
    assert {path: r.emotion for path, r in results_by_path(db, fresh).items()} == {
        p: r.emotion for p, r in after.items()
    }


def test_an_unreadable_file_is_read_again(run: Run, folder: Path) -> None:
    (folder / "face-00004.jpg").write_bytes(b"")
    assert run().counts.unreadable == 1
    again = run()
    assert (again.counts.unreadable, again.reused) == (1, 9)
    shutil.copy(folder / "face-00005.jpg", folder / "face-00004.jpg")
    assert (run().counts.classified, run().reused) == (10, 10)


def test_another_release_does_not_reuse_predictions(db: Database, run: Run, tmp_path: Path) -> None:
    run()
    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    other = releases.register(db, tmp_path / "other.pkl")
    job = run(model_release_id=other)
    assert job.reused == 0
    assert {r.model for r in results_by_path(db, job).values()} == {"other"}
    assert run(model_release_id=other).reused == 10


def test_reused_predictions_outlive_the_job_that_made_them(db: Database, run: Run) -> None:
    first = run()
    run()
    deletion.delete(db, first.id)
    assert run().reused == 10


def test_sizes_and_times_are_trusted_only_on_request(db: Database, run: Run, folder: Path) -> None:
    first = folder / "face-00001.jpg"
    second = folder / "face-00002.jpg"
    pad_to_same_size(first, second)
    before = results_by_path(db, run())
    replace_bytes(first, second.read_bytes())
    trusting = run(trust_mtime=True)
    assert trusting.reused == 10
    assert results_by_path(db, trusting) == before

    reading = results_by_path(db, run())
    assert reading[first.name].scores == reading[second.name].scores
    assert reading[first.name].scores != before[first.name].scores


def test_a_file_with_a_new_time_is_read_even_if_times_are_trusted(
    db: Database, run: Run, folder: Path
) -> None:
    run()
    shutil.copy(folder / "face-00002.jpg", folder / "face-00001.jpg")
    os.utime(folder / "face-00001.jpg", ns=(1, 1))
    after = results_by_path(db, run(trust_mtime=True))
    assert after["face-00001.jpg"].scores == after["face-00002.jpg"].scores


def test_a_file_whose_time_does_not_fit_is_classified_and_always_read(
    db: Database, run: Run, folder: Path
) -> None:
    far, early = folder / "face-00001.jpg", folder / "face-00003.jpg"
    os.utime(far, ns=(0, YEAR_2264_NS))
    os.utime(early, ns=(0, -1))
    assert run().counts.classified == 10
    with db.read() as connection:
        times = dict(connection.execute(sa.select(Image.path, Image.mtime_ns)).all())
    assert (times[far.name], times[early.name]) == (None, -1)

    shutil.copyfile(folder / "face-00002.jpg", far)
    os.utime(far, ns=(0, YEAR_2264_NS))
    trusting = run(trust_mtime=True)
    after = results_by_path(db, trusting)
    assert trusting.counts.classified == 10
    assert after[far.name].scores == after["face-00002.jpg"].scores


def test_a_trusted_file_is_not_read(run: Run, folder: Path) -> None:
    run()
    path = folder / "face-00001.jpg"
    replace_bytes(path, b"\0" * path.stat().st_size)
    assert run(trust_mtime=True).counts.classified == 10
    assert run().counts.unreadable == 1


def test_a_path_of_the_greatest_length_is_recorded_and_found_again(
    db: Database, run: Run, folder: Path
) -> None:
    """Its names are random: PostgreSQL compresses others until they fit into an index row."""
    deep = folder
    while len(os.fsencode(deep)) < PATH_MAX - 300:
        deep /= secrets.token_hex(120)
    deep.mkdir(parents=True)
    name = "x" * (PATH_MAX - 1 - len(os.fsencode(deep / ".jpg"))) + ".jpg"
    shutil.copy(folder / "face-00001.jpg", deep / name)

    before = results_by_path(db, run())
    assert str((deep / name).relative_to(folder)) in before

    trusting = run(trust_mtime=True)
    assert trusting.reused == 11
    assert results_by_path(db, trusting) == before


def test_links_are_always_read(db: Database, run: Run, folder: Path) -> None:
    (folder / "link.jpg").symlink_to(folder / "face-00001.jpg")
    run()
    shutil.copy(folder / "face-00002.jpg", folder / "face-00001.jpg")
    after = results_by_path(db, run(trust_mtime=True))
    assert after["link.jpg"].scores == after["face-00002.jpg"].scores


def test_the_first_job_of_a_release_looks_up_nothing(
    db: Database, run: Run, release_id: int
) -> None:
    first = run()
    assert not reuse.find_scope(db, first.id, release_id).lookup
    second = run()
    assert reuse.find_scope(db, second.id, release_id).lookup


def test_all_fingerprints_of_a_large_batch_are_looked_up_at_once(db: Database, run: Run) -> None:
    first = run()
    with db.read() as connection:
        fingerprints = connection.scalars(
            sa.select(Image.fingerprint).where(Image.job_id == first.id)
        )
        known = [fingerprint for fingerprint in fingerprints if fingerprint is not None]

    assert len(known) == 10

    unknown = [i.to_bytes(reuse.DIGEST_BYTES, "big") for i in range(1024)]
    assert set(reuse.find_by_fingerprint(db, first.id + 1, [*unknown, *known])) == set(known)
    assert reuse.find_by_fingerprint(db, first.id, known) == {}
    assert reuse.find_by_fingerprint(db, first.id + 1, []) == {}
