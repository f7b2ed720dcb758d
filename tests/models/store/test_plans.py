"""What the indexes are for: no query that workers or pages repeat walks through a table, or sorts what it found."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.labels import EMOTIONS
from models.settings import Settings
from models.store import batches, deletion, hints, jobs, recovery, reuse, scans
from models.store.database import Database
from models.store.results import Filter, page
from models.store.states import JobStatus
from models.store.tables import Batch, Image, Job, Prediction

IMAGES = 2_000
DEEP = f"1.{IMAGES - 500}.0"


@pytest.fixture
def filled(db: Database, release_id: int) -> Database:
    """Two jobs of many images, of which few are unreadable and few show fear."""
    jobs_made = [
        jobs.submit(db, jobs.Submission(f"/{name}", release_id, batch_size=4))[0].id
        for name in ("photos", "others")
    ]
    assert jobs_made == [1, 2]
    scores = dict.fromkeys(EMOTIONS, 1 / 28)
    with db.write() as connection:
        for job in jobs_made:
            rows = [{"job_id": job, "number": number} for number in range(IMAGES)]
            images = [{"path": f"{r['number']:06}", "outcome": "classified"} for r in rows]
            for image in images[::100]:
                image["outcome"] = "unreadable"
            connection.execute(
                sa.insert(Image), [{**r, **i} for r, i in zip(rows, images, strict=True)]
            )
            faces = [
                {"face": 0, "model_release_id": release_id, "emotion": "happiness", "score": 0.5}
                for _ in rows
            ]
            for face in faces[::100]:
                face["emotion"] = "fear"
            connection.execute(
                sa.insert(Prediction),
                [{**r, **f, **scores} for r, f in zip(rows, faces, strict=True)],
            )
            done = {
                "job_id": job,
                "size": 4,
                "state": "done",
                "attempt": 1,
                "items": None,
                "lease_until": None,
            }
            connection.execute(sa.insert(Batch), [done] * (IMAGES // 4))
            connection.execute(
                sa.insert(Batch), [{**done, "state": "queued", "items": [[1, "a"]]}] * 4
            )
        connection.execute(
            sa.update(Job).values(status=JobStatus.RUNNING, running_at=datetime.now(UTC))
        )
    with db.write() as connection:
        connection.execute(sa.text("ANALYZE"))
    return db


def plans(db: Database, work: Callable[[], object]) -> list[str]:
    """The plan of each statement that some work sends, a line a step."""
    sent: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        sent.append((statement, parameters))

    sa.event.listen(db._engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        sa.event.remove(db._engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
    with db.read() as connection:
        if (
            not db.is_sqlite
        ):  # What it chooses by itself for millions of rows; for thousands, walking is as cheap.
            for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
                connection.execute(sa.text(f"SET LOCAL enable_{way} = off"))
        return [
            _explain(connection, explain + statement, parameters)
            for statement, parameters in sent
            if statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH")
        ]


def _explain(connection: Connection, statement: str, parameters: Any) -> str:
    return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(statement, parameters))


def walks(plan: str) -> list[str]:
    """Steps that go through a whole table of those that grow, or sort one.

    SQLite's scan along an index is ended by the page's limit, and PostgreSQL's incremental sort by each image's end.
    """
    grown = ("images", "predictions", "batches")
    if not any(name in plan for name in grown):
        return []
    walked = [f"{way} {name}" for name in grown for way in ("SCAN", "Seq Scan on")]
    found = [
        line
        for line in plan.splitlines()
        if any(w in line for w in (*walked, "TEMP B-TREE", "Sort  ("))
    ]
    return [line for line in found if "USING INDEX" not in line and "Incremental" not in line]


@pytest.mark.parametrize(
    ("which", "index"),
    [
        (Filter(1), "images"),
        (Filter(1, emotion="fear"), "ix_predictions_job_id_emotion_number_face"),
        (Filter(1, emotion="fear", min_score=0.2), "ix_predictions_job_id_emotion_number_face"),
        (Filter(1, min_score=0.2), "predictions"),
        (Filter(1, outcome="unreadable"), "ix_images_job_id_outcome_number"),  # type: ignore[arg-type]
        (Filter(), "images"),
    ],
)
@pytest.mark.parametrize("after", [None, DEEP])
def test_a_page_begins_at_its_first_row_however_deep_it_lies(
    filled: Database, which: Filter, index: str, after: str | None
) -> None:
    (plan,) = plans(filled, lambda: page(filled, which, 100, after))
    assert walks(plan) == [], plan
    assert index in plan
    if after and filled.is_sqlite:
        assert "number>?" in plan or "(job_id,number)>(?,?)" in plan


@pytest.mark.parametrize(
    "which", [Filter(1), Filter(1, emotion="fear"), Filter(1, min_score=0.2), Filter()]
)
def test_sqlite_joins_a_page_by_key_though_it_has_no_statistics(
    filled: Database, which: Filter
) -> None:
    if filled.is_sqlite:  # PostgreSQL gathers its own.
        with filled.write() as connection:
            connection.execute(sa.text("DELETE FROM sqlite_stat1"))
        filled.close()
    (plan,) = plans(filled, lambda: page(filled, which, 100, DEEP))
    assert walks(plan) == [], plan
    if filled.is_sqlite:
        assert "(job_id=? AND number=?)" in plan, plan


def test_postgresql_expects_a_page_behind_a_cursor_to_be_full(filled: Database) -> None:
    (plan,) = plans(filled, lambda: page(filled, Filter(2), 100, "2.100.0"))  # Of the newest job.
    if (
        not filled.is_sqlite
    ):  # It reads the index until the page is full only if it expects to be done soon.
        assert "rows=100 " in plan.splitlines()[0], plan


def test_workers_and_sweeps_find_what_is_due_by_index(filled: Database) -> None:
    settings = Settings(dispatch_window=4)

    def work() -> None:
        claim = batches.claim(filled, None, "worker", 30.0)
        assert claim is not None
        batches.renew(filled, claim, 30.0)
        batches.claim(filled, None, "worker", 30.0, job_id=2)
        recovery.requeue_expired(filled)
        hints.send_due(filled, lambda *_: True, settings)
        jobs.get(filled, 1)

    found = plans(filled, work)
    assert len(found) >= 8
    assert [plan for plan in found if walks(plan)] == []


def test_predictions_to_use_again_are_found_by_index(filled: Database, release_id: int) -> None:
    """However many images share one's bytes: here all of the first job's have the same."""
    same = b"0123456789abcdef"
    with filled.write() as connection:
        connection.execute(
            sa.update(Image).where(Image.job_id == 1).values(fingerprint=same, size=1, mtime_ns=1)
        )
        connection.execute(sa.update(Job).values(classified=1, total=IMAGES))
    with filled.write() as connection:
        connection.execute(sa.text("ANALYZE"))

    def work() -> None:
        assert set(reuse.find_by_fingerprint(filled, 2, 64 * [same])) == {same}
        assert len(reuse.find_by_mtime(filled, 1, release_id, [f"{i:06}" for i in range(64)])) == 64
        reuse.find_scope(filled, 2, release_id)

    found = plans(filled, work)
    assert len(found) >= 4
    assert [plan for plan in found if walks(plan)] == []
    assert "ix_images_fingerprint_job_id_number" in found[0]
    if filled.is_sqlite:
        assert "fingerprint=? AND job_id<?" in found[0]


def test_a_job_is_deleted_by_index(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 500)

    def work() -> None:
        deletion.delete(filled, 2)
        deletion.delete_due(filled, 30)

    found = plans(filled, work)
    assert len(found) >= 30
    assert [plan for plan in found if walks(plan)] == []


def test_a_page_of_another_jobs_cursor_begins_with_the_job(filled: Database) -> None:
    assert page(filled, Filter(2), 1, DEEP)[0].cursor == "2.0.0"
    assert page(filled, Filter(1), 1, "2.0.0") == []


def test_pages_put_together_are_all_results(filled: Database) -> None:
    for which in (
        Filter(1),
        Filter(1, emotion="fear"),
        Filter(emotion="fear"),
        Filter(1, min_score=0.2),
    ):
        whole = [record.cursor for record in page(filled, which, 2 * IMAGES)]
        paged: list[str] = []
        while found := page(filled, which, len(whole) // 3 + 1, paged[-1] if paged else None):
            paged += [record.cursor for record in found]
        assert paged == whole
        assert len(whole) == len(set(whole)) > 0


def test_jobs_that_have_ended_are_not_walked_through_to_find_what_is_due(
    filled: Database, release_id: int
) -> None:
    """A user keeps thousands of them; idle workers ask several times a second."""
    ended = {"folder": "/old", "recursive": True, "model_release_id": release_id, "batch_size": 64}
    ended |= {
        "status": "completed",
        "queued_at": datetime.now(UTC),
        "completed_at": datetime.now(UTC),
    }
    with filled.write() as connection:
        connection.execute(sa.insert(Job), [ended] * 5_000)
    with (
        filled.write() as connection
    ):  # In SQLite nobody gathers statistics, in PostgreSQL it does itself.
        connection.execute(sa.text("DELETE FROM sqlite_stat1" if filled.is_sqlite else "ANALYZE"))
    filled.close()
    settings = Settings(dispatch_window=4)

    def work() -> None:
        scans.claim(filled, None, "worker", 30.0)
        batches.claim(filled, None, "worker", 30.0)
        recovery.requeue_expired(filled)
        hints.send_due(filled, lambda *_: True, settings)
        jobs.find_live(filled, jobs.Submission("/photos", release_id))
        jobs.list_newest(filled, status=JobStatus.RUNNING)

    found = plans(filled, work)
    assert len(found) >= 12
    assert [plan for plan in found if "SCAN jobs" in plan] == []
    assert sum("ix_jobs_status" in plan for plan in found) >= 5
