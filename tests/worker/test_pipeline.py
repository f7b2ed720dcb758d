"""One batch from claim to record: the outcome of its images if the network fails."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.release.files import save_release
from models.settings import Settings
from models.store import jobs, releases, results
from models.store.database import Database
from models.store.jobs import Submission
from models.store.results import Filter
from models.store.states import JobStatus, Outcome
from tests.builders import tiny_release
from tests.integration.deployment import make_faces
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

    for record in results.stream(db, Filter(job.id)):
        assert (record.outcome, record.scores) == (Outcome.FAILED, None)
        assert record.error is not None
        assert record.error["code"] == "not_finite"
    view = jobs.get(db, job.id)
    assert (view.status, view.counts.failed) == (JobStatus.COMPLETED, 3)
