"""No query that workers or pages repeat scans a whole table or sorts its rows."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.labels import EMOTIONS
from models.settings import Settings
from models.store import (
    batches,
    comparison,
    deletion,
    hints,
    jobs,
    recovery,
    reuse,
    scans,
    summaries,
)
from models.store.database import Database
from models.store.filters import ResultFilter, ScoreRange
from models.store.job_filters import JobFilter
from models.store.order import Sort
from models.store.results import page
from models.store.states import JobStatus
from models.store.tables import Batch, Image, Job, Prediction

IMAGES = 2_000
DEEP = f"1.{IMAGES - 500}.0"


@pytest.fixture
def filled(db: Database, release_id: int) -> Database:
    """Two jobs of many images: a few are unreadable, a few show fear."""
    job_ids = [
        jobs.submit(db, jobs.Submission(f"/{name}", release_id, batch_size=4))[0].id
        for name in ("photos", "others")
    ]
    assert job_ids == [1, 2]

    scores = dict.fromkeys(EMOTIONS, 1 / 28)
    with db.write() as connection:
        for job in job_ids:
            rows = [{"job_id": job, "number": number} for number in range(IMAGES)]
            images = [
                {
                    "path": f"{r['number']:06}",
                    "outcome": "classified",
                    "error_code": None,
                    "faces": 1,
                }
                for r in rows
            ]
            for image in images[::100]:
                image |= {"outcome": "unreadable", "error_code": "truncated", "faces": 0}
            connection.execute(
                sa.insert(Image), [{**r, **i} for r, i in zip(rows, images, strict=True)]
            )
            happy = {
                "face": 0,
                "model_release_id": release_id,
                "emotion": "happiness",
            }
            box = dict.fromkeys(("box_x", "box_y", "box_width", "box_height"), 40)
            faces = [
                {**happy, **box, "score": 0.4 + r["number"] / 10_000, "face_confidence": 0.9}
                for r in rows
            ]
            for face in faces[::100]:
                face |= {"emotion": "fear", "fear": 0.5}
            connection.execute(
                sa.insert(Prediction),
                [{**r, **scores, **f} for r, f in zip(rows, faces, strict=True)],
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
    """The plan of each statement that the work sends, one step a line."""
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
        ):  # It chooses indexes by itself for millions of rows; for thousands, a scan is as cheap.
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
    """The steps of a plan that scan or sort a whole table that grows.

    The page's limit ends a scan along an index in SQLite, and an incremental sort in PostgreSQL.
    """
    grown = ("images", "predictions", "batches")
    if not any(name in plan for name in grown):
        return []
    walked = [f"{way} {name}" for name in grown for way in ("SCAN", "Seq Scan on")]
    steps = [
        line
        for line in plan.splitlines()
        if any(w in line for w in (*walked, "TEMP B-TREE", "Sort  ("))
    ]
    return [line for line in steps if "USING INDEX" not in line and "Incremental" not in line]


@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        (ResultFilter(1), "images"),
        (ResultFilter(1, emotion="fear"), "ix_predictions_job_id_emotion_number_face"),
        (
            ResultFilter(1, emotion="fear", min_score=0.2),
            "ix_predictions_job_id_emotion_number_face",
        ),
        (ResultFilter(1, min_score=0.2), "predictions"),
        (ResultFilter(1, min_face=20), "predictions"),
        (
            ResultFilter(1, min_confidence=0.7, emotion="fear"),
            "ix_predictions_job_id_emotion_number_face",
        ),
        (ResultFilter(1, min_faces=1), "images"),
        (ResultFilter(1, max_faces=0), "images"),
        (ResultFilter(1, max_faces=1, min_face=20), "predictions"),
        (ResultFilter(1, code="truncated"), "ix_images_job_id_error_code_number"),
        (ResultFilter(1, outcome="unreadable"), "ix_images_job_id_outcome_number"),  # type: ignore[arg-type]
        (ResultFilter(), "images"),
    ],
)
@pytest.mark.parametrize("after", [None, DEEP])
def test_an_index_leads_to_the_first_row_of_any_page(
    filled: Database, conditions: ResultFilter, index: str, after: str | None
) -> None:
    (plan,) = plans(filled, lambda: page(filled, conditions, 100, after))
    assert walks(plan) == [], plan
    assert index in plan
    if after and filled.is_sqlite:
        assert "number>?" in plan or "(job_id,number)>(?,?)" in plan


@pytest.mark.parametrize(
    ("conditions", "sort", "index"),
    [
        (ResultFilter(1, emotion="fear"), "score", "ix_predictions_notable_fear"),
        (ResultFilter(1, emotion="happiness"), "-score.fear", "ix_predictions_notable_fear"),
        (ResultFilter(1, min_score=0.45), "-score", "ix_predictions_job_id_score_number_face"),
        (ResultFilter(1, max_faces=1), "score", "ix_predictions_job_id_score_number_face"),
    ],
)
def test_an_index_holds_each_order_of_what_is_filtered(
    filled: Database, conditions: ResultFilter, sort: str, index: str
) -> None:
    sent = plans(filled, lambda: page(filled, conditions, 100, None, Sort(sort)))
    assert [plan for plan in sent if walks(plan)] == []
    assert any(index in plan for plan in sent)


def test_faces_below_the_notable_scores_are_not_read_for_one_who_asks_for_others(
    filled: Database,
) -> None:
    fearful = ResultFilter(1, scores=(ScoreRange("fear", "gte", 0.4),))
    for sort in ("score.fear", "-score.fear"):
        (plan,) = plans(filled, partial(page, filled, fearful, 100, None, Sort(sort)))
        assert walks(plan) == []
        assert "ix_predictions_notable_fear" in plan


@pytest.mark.parametrize(
    ("sort", "place", "index", "seek"),
    [
        ("score", "0.5~1500.0", "ix_predictions_job_id_score_number_face", "(score,number,face)>"),
        ("-score", "0.5~1500.0", "ix_predictions_job_id_score_number_face", "(score,number,face)<"),
        ("-score.fear", "0.5~900.0", "ix_predictions_notable_fear", "(fear,number,face)<"),
        ("score.fear", "0.5~900.0", "ix_predictions_notable_fear", "(fear,number,face)>"),
        ("-score.fear", "0.0~1500.0", "predictions", "(number,face)<"),
        ("score.fear", "0.0~1500.0", "predictions", "(number,face)>"),
    ],
)
def test_an_index_holds_each_order(
    filled: Database, sort: str, place: str, index: str, seek: str
) -> None:
    score, face = place.split("~")
    after = f"{sort}~{float(score):.12f}~{face}"
    first = plans(filled, lambda: page(filled, ResultFilter(1), 100, None, Sort(sort)))
    later = plans(filled, lambda: page(filled, ResultFilter(1), 100, after, Sort(sort)))

    assert [plan for plan in first + later if walks(plan)] == []
    assert index in later[0]
    if filled.is_sqlite:
        assert seek in later[0], later[0]


@pytest.mark.parametrize(
    "conditions",
    [
        ResultFilter(1),
        ResultFilter(1, emotion="fear"),
        ResultFilter(1, min_score=0.2),
        ResultFilter(1, min_face=20, max_faces=1),
        ResultFilter(1, min_faces=1),
        ResultFilter(1, uncertain=True),
        ResultFilter(),
    ],
)
@pytest.mark.parametrize("after", [None, DEEP])
def test_sqlite_joins_a_page_by_key_without_statistics(
    filled: Database, conditions: ResultFilter, after: str | None
) -> None:
    if filled.is_sqlite:  # PostgreSQL gathers statistics by itself.
        with filled.write() as connection:
            connection.execute(sa.text("DELETE FROM sqlite_stat1"))
        filled.close()
    (plan,) = plans(filled, lambda: page(filled, conditions, 100, after))
    assert walks(plan) == [], plan
    if filled.is_sqlite:
        assert "(job_id=? AND number=?)" in plan, plan


def test_postgresql_expects_a_full_page_after_a_cursor(filled: Database) -> None:
    (plan,) = plans(
        filled, lambda: page(filled, ResultFilter(2), 100, "2.100.0")
    )  # Of the newest job.
    if not filled.is_sqlite:  # Only then does it read the index until the page is full.
        assert "rows=100 " in plan.splitlines()[0], plan


def test_a_summary_counts_scores_along_their_indexes(filled: Database) -> None:
    way = "USING COVERING INDEX" if filled.is_sqlite else "Index Only Scan using"
    statements = plans(filled, lambda: summaries.get(filled, 1))
    for emotion in EMOTIONS:
        assert any(f"{way} ix_predictions_notable_{emotion}" in plan for plan in statements)


@pytest.mark.parametrize("emotion", [None, "fear"])
@pytest.mark.parametrize("other", [None, "happiness"])
@pytest.mark.parametrize("after", [None, DEEP])
def test_the_faces_of_another_job_are_found_by_path_and_in_order(
    filled: Database, emotion: str | None, other: str | None, after: str | None
) -> None:
    def work() -> None:
        comparison.page(filled, 1, 2, 60, emotion=emotion, other=other, after=after)

    (plan,) = plans(filled, work)
    assert walks(plan) == [], plan
    assert ("job_id=? AND path=?" if filled.is_sqlite else "ix_images_job_id_path") in plan


def test_jobs_are_compared_by_path(filled: Database) -> None:
    statements = plans(filled, lambda: comparison.compare(filled, 1, 2))
    path = "job_id=? AND path=?" if filled.is_sqlite else "ix_images_job_id_path"
    assert [plan for plan in statements if path not in plan] == []
    assert len(statements) == 2


def test_workers_and_sweeps_find_due_work_by_index(filled: Database) -> None:
    settings = Settings(dispatch_window=4)

    def work() -> None:
        claim = batches.claim(filled, None, "worker", 30.0)
        assert claim is not None
        batches.renew(filled, claim, 30.0)
        batches.claim(filled, None, "worker", 30.0, job_id=2)
        recovery.requeue_expired(filled)
        hints.send_due(filled, lambda *_: True, settings)
        jobs.get(filled, 1)

    statements = plans(filled, work)
    assert len(statements) >= 8
    assert [plan for plan in statements if walks(plan)] == []


def test_reusable_predictions_are_found_by_index(filled: Database, release_id: int) -> None:
    """Even if many images have the same bytes: here, all of the first job."""
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
        assert (
            len(reuse.find_by_mtime(filled, 1, release_id, [f"{i:06}" for i in range(1, 65)])) == 64
        )
        reuse.find_scope(filled, 2, release_id)

    statements = plans(filled, work)
    assert len(statements) >= 4
    assert [plan for plan in statements if walks(plan)] == []
    assert "ix_images_fingerprint_job_id_number" in statements[0]

    if filled.is_sqlite:
        assert "fingerprint=? AND job_id<?" in statements[0]
        assert "job_id=? AND path=?" in statements[1]
    else:
        assert "ix_images_job_id_path" in statements[1]


def test_a_job_is_deleted_by_index(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 500)

    def work() -> None:
        deletion.delete(filled, 2)
        deletion.delete_due(filled, 30)

    statements = plans(filled, work)
    assert len(statements) >= 30
    assert [plan for plan in statements if walks(plan)] == []


def test_a_cursor_of_another_job_starts_at_the_first_row(filled: Database) -> None:
    assert page(filled, ResultFilter(2), 1, DEEP)[0].cursor == "2.0.0"
    assert page(filled, ResultFilter(1), 1, "2.0.0") == []


def test_all_pages_together_are_all_results(filled: Database) -> None:
    for conditions in (
        ResultFilter(1),
        ResultFilter(1, emotion="fear"),
        ResultFilter(emotion="fear"),
        ResultFilter(1, min_score=0.2),
        ResultFilter(1, min_confidence=0.7, min_faces=1),
    ):
        whole = [record.cursor for record in page(filled, conditions, 2 * IMAGES)]
        paged: list[str] = []
        while records := page(
            filled, conditions, len(whole) // 3 + 1, paged[-1] if paged else None
        ):
            paged += [record.cursor for record in records]
        assert paged == whole
        assert len(whole) == len(set(whole)) > 0


def test_finding_due_work_does_not_scan_ended_jobs(filled: Database, release_id: int) -> None:
    """Users keep thousands of them, and idle workers ask several times a second."""
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
    ):  # SQLite has no statistics; PostgreSQL gathers them by itself.
        connection.execute(sa.text("DELETE FROM sqlite_stat1" if filled.is_sqlite else "ANALYZE"))

    filled.close()
    settings = Settings(dispatch_window=4)

    def work() -> None:
        scans.claim(filled, None, "worker", 30.0)
        batches.claim(filled, None, "worker", 30.0)
        recovery.requeue_expired(filled)
        hints.send_due(filled, lambda *_: True, settings)
        jobs.find_live(filled, jobs.Submission("/photos", release_id))
        jobs.list_newest(filled, JobFilter(JobStatus.RUNNING))

    statements = plans(filled, work)
    assert len(statements) >= 12
    assert [plan for plan in statements if "SCAN jobs" in plan] == []
    assert sum("ix_jobs_status" in plan for plan in statements) >= 5
