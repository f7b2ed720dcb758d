"""Results are read in pages, filtered and summed."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from models.errors import DeletedError
from models.store import (
    batches,
    deletion,
    releases,
    results,
)
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.builders import (
    LEASE_S,
    SCORES,
    claim_batch,
    list_folder,
    queue_job,
    records_of,
)
from tests.services import Postgres


def test_pages_follow_the_scan_order_without_gaps_or_overlaps(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 11)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, records_of(claim))
    seen: list[str] = []
    after = None
    while records := results.page(db, ResultFilter(job.id), limit=4, after=after):
        seen += [record.path for record in records]
        after = records[-1].cursor

    assert seen == [f"{i:03}.jpg" for i in range(11)]
    assert [r.path for r in results.stream(db, ResultFilter())] == seen


@pytest.mark.parametrize("conditions", [ResultFilter(1), ResultFilter()])
@pytest.mark.parametrize("pages_read", [0, 1, 2])
def test_a_stream_breaks_off_if_its_job_is_deleted(
    db: Database,
    release_id: int,
    monkeypatch: pytest.MonkeyPatch,
    conditions: ResultFilter,
    pages_read: int,
) -> None:
    monkeypatch.setattr(results, "PAGE", 4)
    for _ in range(2):
        list_folder(db, queue_job(db, release_id), 12)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, records_of(claim))
    assert len(list(results.stream(db, conditions))) == (12 if conditions.job_id else 24)

    records = results.stream(db, conditions)
    for _ in range(4 * pages_read):
        next(records)
    deletion.delete(db, 1)

    if conditions.job_id or pages_read:
        with pytest.raises(DeletedError, match="incomplete"):
            list(records)
    else:
        assert {record.job_id for record in records} == {2}


def test_a_stream_whose_job_is_deleted_after_its_last_page_is_whole(
    db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    claim = claim_batch(db)
    batches.complete(db, claim, records_of(claim))
    records = results.stream(db, ResultFilter(1))
    first = next(records)
    deletion.delete(db, 1)
    assert len([first, *records]) == 4


def test_results_are_filtered_by_emotion_score_outcome_and_path(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    claim = claim_batch(db)
    happy = np.eye(28, dtype=np.float32)[16]
    rows = records_of(claim)
    rows[1] = replace(rows[1], faces=[FaceRecord(happy)])
    batches.complete(db, claim, rows)
    claim = claim_batch(db)
    batches.complete(db, claim, records_of(claim, Outcome.UNREADABLE))

    def paths(**conditions: object) -> list[str]:
        return [r.path for r in results.page(db, ResultFilter(job.id, **conditions))]  # type: ignore[arg-type]

    assert paths(emotion="happiness") == ["001.jpg"]
    assert paths(emotion="neutral") == ["000.jpg", "002.jpg", "003.jpg"]
    assert paths(min_score=0.5) == ["001.jpg"]
    assert paths(outcome=Outcome.UNREADABLE) == ["004.jpg", "005.jpg", "006.jpg", "007.jpg"]
    assert paths(path_prefix="00") == [f"00{i}.jpg" for i in range(8)]
    assert paths(path_prefix="%") == []


def test_the_readme_lists_faces_in_sql(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 2)
    claim = claim_batch(db)
    afraid, surprised = (FaceRecord(np.eye(28, dtype=np.float32)[i]) for i in (15, 23))
    group, single = records_of(claim)
    rows = [replace(group, faces=[afraid, surprised, afraid]), replace(single, faces=[afraid])]
    batches.complete(db, claim, rows)

    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (query,) = re.findall(r"`(SELECT .*?)`", readme)
    with db.read() as connection:
        listed = connection.execute(sa.text(query)).all()
    assert sorted(listed) == [(path, "fear", 1.0) for path in ("000.jpg", "000.jpg", "001.jpg")]


def test_results_are_filtered_by_size_confidence_and_number_of_faces(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    claim = claim_batch(db)
    large = FaceRecord(SCORES, (0, 0, 90, 120), 0.95, 0.0)
    wide = FaceRecord(SCORES, (100, 0, 80, 40), 0.75, 0.0)
    rows = [
        ImageRecord(0, "group.jpg", Outcome.CLASSIFIED, faces=[large, wide]),
        ImageRecord(1, "crop.jpg", Outcome.CLASSIFIED, faces=[FaceRecord(SCORES)]),
        ImageRecord(2, "nobody.jpg", Outcome.NO_FACE),
        ImageRecord(3, "broken.jpg", Outcome.UNREADABLE, "truncated", "Cut off."),
    ]
    batches.complete(db, claim, rows)

    def kept(**conditions: object) -> list[tuple[str, int | None]]:
        """The path of each result, and which of the image's faces it is."""
        records = results.page(db, ResultFilter(job.id, **conditions))  # type: ignore[arg-type]
        return [(record.path, record.face["index"] if record.face else None) for record in records]

    group, whole = [("group.jpg", 0), ("group.jpg", 1)], [("crop.jpg", 0)]
    faceless = [("nobody.jpg", None), ("broken.jpg", None)]
    assert kept(min_face=40) == group
    assert kept(min_face=41) == group[:1]
    assert kept(min_confidence=0.8) == group[:1]
    assert kept(min_confidence=0.0) == group  # A picture taken whole has no confidence.
    assert kept(min_faces=2) == group
    assert kept(max_faces=1) == whole + faceless
    assert kept(min_faces=1, max_faces=1) == whole
    assert kept(max_faces=0) == faceless
    assert kept(max_faces=0, outcome=Outcome.NO_FACE) == faceless[:1]
    assert (
        kept(min_faces=2, min_face=60, emotion=results.page(db, ResultFilter())[0].emotion)
        == group[:1]
    )
    assert kept(max_faces=0, min_score=0.0) == []


def test_a_prefix_distinguishes_capitals_and_takes_wildcards_for_themselves(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    claim = claim_batch(db)
    names = ("A/1.jpg", "a/1.jpg", "a%.jpg", "a_.jpg")
    records = zip(records_of(claim), names, strict=True)
    batches.complete(db, claim, [replace(record, path=name) for record, name in records])

    def names_with(prefix: str) -> list[str]:
        return [
            record.path for record in results.page(db, ResultFilter(job.id, path_prefix=prefix))
        ]

    assert names_with("A") == ["A/1.jpg"]
    assert names_with("a/") == ["a/1.jpg"]
    assert names_with("a%") == ["a%.jpg"]
    assert names_with("a_") == ["a_.jpg"]


@pytest.mark.parametrize("text", ["doubt_confusion", "Doubt/Confusion", "doubt confusion"])
def test_an_emotion_may_be_named_as_tables_print_it(text: str) -> None:
    assert ResultFilter(emotion=text).emotion == "doubt_confusion"


def test_times_are_in_utc_whatever_the_zone_of_the_database(
    postgres_server: Postgres, tiny_model: Path
) -> None:
    url = f"{postgres_server.create_database()}?options=-cTimeZone%3DAsia%2FTokyo"
    database = Database(url)
    database.upgrade()
    job = queue_job(database, releases.resolve(database, None, tiny_model))
    assert job.queued_at.utcoffset() == timedelta(0)
    database.close()


def test_scores_have_the_digits_of_single_precision(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 1)
    claim = claim_batch(db)
    scores = np.full(28, 0.51 / 27, np.float32)
    scores[3] = 0.49
    face = FaceRecord(scores, (1, 2, 3, 4), 0.93, -4.2)
    batches.complete(db, claim, [ImageRecord(0, "000.jpg", Outcome.CLASSIFIED, faces=[face])])

    (record,) = results.page(db, ResultFilter())
    assert record.face is not None
    assert record.scores is not None
    assert (record.score, record.face["confidence"], record.face["roll"]) == (0.49, 0.93, -4.2)
    assert set(record.scores.values()) == {0.49, float(str(scores[0]))}
