"""Jobs are filtered by status, folder, metadata, and when they were submitted and ended."""

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from models.store import jobs
from models.store.database import Database
from models.store.job_filters import JobFilter
from models.store.jobs import Submission
from models.store.states import JobStatus
from models.store.tables import Job


def day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=UTC)


@pytest.fixture
def filled(db: Database, release_id: int) -> Database:
    """Three jobs, submitted one a day; the first two have ended a day later."""
    jobs_given: list[tuple[str, dict[str, Any] | None]] = [
        ("/photos", {"study": "pilot", "wave": 3, "share": 0.5, "blind": True, 'a"b.c': "x"}),
        ("/photos/2026", {"study": "Pilot", "wave": "3", "blind": False, "none": None}),
        ("/photos_2", None),
    ]
    for number, (folder, metadata) in enumerate(jobs_given, 1):
        job, _ = jobs.submit(db, Submission(folder, release_id, metadata=metadata))
        values: dict[str, Any] = {"queued_at": day(number)}
        if number < 3:
            status = JobStatus.COMPLETED if number == 1 else JobStatus.FAILED
            values |= {"status": status, f"{status}_at": day(number + 1)}
        with db.write() as connection:
            connection.execute(sa.update(Job).where(Job.id == job.id).values(values))
    return db


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (JobFilter(), [3, 2, 1]),
        (JobFilter(JobStatus.FAILED), [2]),
        (JobFilter(folder="/photos"), [2, 1]),
        (JobFilter(folder="/photos/"), [2, 1]),
        (JobFilter(folder="/photos/2026"), [2]),
        (JobFilter(folder="/Photos"), []),
        (JobFilter(folder="/"), [3, 2, 1]),
        (JobFilter(metadata={"study": "pilot"}), [1]),
        (JobFilter(metadata={"wave": "3"}), [2, 1]),
        (JobFilter(metadata={"wave": "3", "study": "Pilot"}), [2]),
        (JobFilter(metadata={"share": "0.5"}), [1]),
        (JobFilter(metadata={"blind": "true"}), [1]),
        (JobFilter(metadata={"blind": "1"}), []),
        (JobFilter(metadata={"none": "null"}), []),
        (JobFilter(metadata={'a"b.c': "x"}), [1]),
        (JobFilter(submitted_after=day(2)), [3, 2]),
        (JobFilter(submitted_before=day(2)), [1]),
        (JobFilter(ended_after=day(3)), [2]),
        (JobFilter(ended_before=day(3)), [1]),
        (JobFilter(folder="/photos", ended_before=day(3), submitted_after=day(2)), []),
    ],
)
def test_jobs_are_those_that_meet_all_conditions(
    filled: Database, conditions: JobFilter, expected: list[int]
) -> None:
    assert [job.id for job in jobs.list_newest(filled, conditions)] == expected


def test_pages_hold_only_what_meets_the_conditions(filled: Database) -> None:
    conditions = JobFilter(folder="/photos")
    (first,) = jobs.list_newest(filled, conditions, limit=1)
    assert [job.id for job in jobs.list_newest(filled, conditions, before=first.id)] == [1]
