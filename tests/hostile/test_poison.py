"""A decoder that crashes the process in the middle of a batch, without a Python error."""

import os
from pathlib import Path

import pytest

from models.store import jobs, results
from models.store.filters import ResultFilter
from models.store.states import JobStatus, Outcome
from tests.integration.deployment import Deployment, audit, make_faces
from tests.services import wait_until

FAULT = Path(__file__).parent / "poison"


def test_an_image_that_crashes_its_decoder_is_found_and_all_others_are_classified(
    either: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAULT), prepend=os.pathsep)
    # One worker, because starting one takes a second.
    either.environment |= {"CUEMILL_BATCH_SIZE": "4", "CUEMILL_WORKERS": "1"}
    folder = make_faces(tmp_path / "faces", 12)
    victim = folder / "face-00006.jpg"
    sound = victim.read_bytes()
    comment = b"\xff\xfe\0\x08poison"
    victim.write_bytes(sound[:2] + comment + sound[2:])
    database = either.database()
    either.start("worker")
    job_id = int(either.run("enqueue", folder).stdout)
    wait_until(
        lambda: jobs.get(database, job_id).status is JobStatus.COMPLETED, "the job to complete"
    )
    audit(database, job_id, 12)
    assert jobs.get(database, job_id).counts.classified == 11
    failed = results.page(database, ResultFilter(job_id, outcome=Outcome.FAILED))
    assert [(record.path, record.error and record.error["code"]) for record in failed] == [
        (victim.name, "worker_died")
    ]
