"""Migrations of tables with rows: up and down by one revision, with rows written at each."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from models.labels import EMOTIONS
from models.store import batches, jobs, results
from models.store.database import MIGRATIONS, Database
from models.store.filters import ResultFilter
from models.store.states import JobStatus

_MOMENT = "'2026-11-01 10:20:30.000000'"
_SCORES = ", ".join(str(0.5 if name == "fear" else 0.25) for name in EMOTIONS)


def _release(number: int, default: bool) -> str:
    return (
        "INSERT INTO model_releases (id, sha256, name, path, labels, trained_labels, metrics, "
        f"is_default, created_at) VALUES ({number}, '{number:064}', 'release{number}', "
        "'/r.pkl', '[\"fear\"]', '[\"fear\"]', "
        f"'{{\"val_accuracy\": 0.5}}', {default}, {_MOMENT})"
    )


def _job(number: int, status: str, ended: str, counts: str) -> list[str]:
    """A job of two images: the first is classified, the second is in a batch of `_unfinished`."""
    columns = "total, classified, no_face, unreadable, failed, cancelled"
    return [
        "INSERT INTO jobs (id, folder, recursive, model_release_id, metadata, batch_size, "
        "idempotency_key, status, queued_at, running_at, scanned_at, "
        f"{ended} scan_attempt, {columns}) VALUES ({number}, '/photos', true, 1, "
        f"'{{\"study\": {number}}}', 1, 'key{number}', '{status}', "
        f"{_MOMENT}, {_MOMENT}, {_MOMENT}, "
        f"{f'{_MOMENT}, ' if ended else ''}1, {counts})",
        "INSERT INTO batches (id, job_id, size, state, attempt) "
        f"VALUES ({2 * number}, {number}, 1, 'done', 1)",
        "INSERT INTO images (job_id, number, path, outcome) "
        f"VALUES ({number}, 0, 'a \\xe9.jpg', 'classified')",
        "INSERT INTO predictions (job_id, number, face, model_release_id, emotion, score, "
        f"{', '.join(EMOTIONS)}) VALUES ({number}, 0, 0, 1, 'fear', 0.5, {_SCORES})",
    ]


def _unfinished(number: int) -> str:
    return (
        "INSERT INTO batches (id, job_id, size, items, state, attempt) VALUES "
        f"({2 * number + 1}, {number}, 1, '[[1, \"b.jpg\"]]', 'queued', 0)"
    )


_RUNNING, _COMPLETED = "2, 1, 0, 0, 0, 0", "1, 1, 0, 0, 0, 0"

WRITTEN: dict[str, list[str]] = {
    "0001": [_release(1, True), *_job(1, "running", "", _RUNNING), _unfinished(1)],
    "0002": [
        *_job(2, "completed", "completed_at,", _COMPLETED),
        "INSERT INTO trainings (id, plan, status, queued_at, attempt, losses, comparison) "
        f"VALUES (1, '{{\"seed\": 3}}', 'completed', {_MOMENT}, 1, 0, "
        '\'[{"candidate": "model3"}]\')',
        "INSERT INTO training_epochs VALUES (1, 'model3', 1, 0.5, 0.25, 0.75, 0.125, 9.5)",
    ],
    "0003": _job(3, "completed", "completed_at,", _COMPLETED),
    "0005": [
        *_job(5, "completed", "completed_at,", _COMPLETED),
        "UPDATE images SET size = 5000000000, mtime_ns = 1764000000000000000, reused = true "
        "WHERE job_id = 5",
        "UPDATE jobs SET reused = 1, retention_days = 30, trust_mtime = true WHERE id = 5",
        *_job(6, "cancelled", "cancelled_at,", _COMPLETED),
        f"UPDATE jobs SET deleted_at = {_MOMENT}, idempotency_key = NULL WHERE id = 6",
    ],
    "0013": [
        f"INSERT INTO api_keys VALUES ('abcd1234', 'ci', '{0:064}', 'submit', 60, NULL, {_MOMENT}, "
        "NULL, NULL, NULL)",
        "INSERT INTO audit (id, at, actor, key_id, act, target) "
        f"VALUES (1, {_MOMENT}, 'ci', 'abcd1234', 'job.submit', '5')",
        "UPDATE jobs SET key_id = 'abcd1234' WHERE id = 5",
    ],
    "0018": [f"INSERT INTO sessions VALUES ('{0:064}', 'abcd1234', {_MOMENT}, {_MOMENT})"],
}
"""What a program of each revision may have written; it must not depend on today's tables."""

CHANGED = {("0002", "model_releases", "is_default")}
"""Columns whose values a migration changes on the way up."""

Rows = dict[str, list[dict[str, Any]]]


def revisions() -> list[str]:
    scripts = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    return [script.revision for script in scripts][::-1]


def move(db: Database, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    up = to != "base" and to > (db.revision() or "")
    with db.write() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(config, to)


def rows(db: Database) -> Rows:
    """The rows of every table, in a fixed order."""
    with db.read() as connection:
        tables = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
        unsorted = {
            t: connection.execute(sa.text(f"SELECT * FROM {t}")).mappings().all() for t in tables
        }

    return {
        table: sorted((dict(row) for row in unsorted[table]), key=_key) for table in sorted(tables)
    }


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        row.get(name) or 0 for name in ("id", "job_id", "training_id", "number", "face", "epoch")
    )


def check_kept(
    before: Rows, after: Rows, step: str = "", gone: frozenset[int] = frozenset()
) -> None:
    """Columns of both revisions have the same values, except for CHANGED ones and deleted jobs."""
    for table in before.keys() & after.keys():
        kept = [
            row
            for row in before[table]
            if row.get("job_id", row["id"] if table == "jobs" else 0) not in gone
        ]
        assert len(kept) == len(after[table]), table
        for old, new in zip(kept, after[table], strict=True):
            common = [
                name for name in old.keys() & new.keys() if (step, table, name) not in CHANGED
            ]
            assert {name: old[name] for name in common} == {name: new[name] for name in common}


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    database = Database(database_url.replace("postgresql://", "postgresql+psycopg://"))
    yield database
    database.close()


def test_rows_written_at_each_revision_survive_every_upgrade_and_downgrade(
    empty: Database,
) -> None:
    steps = revisions()
    assert set(WRITTEN) <= set(steps)

    before: Rows = {}
    for step in steps:
        move(empty, step)
        check_kept(before, rows(empty), step)
        with empty.write() as connection:
            for statement in WRITTEN.get(step, []):
                connection.exec_driver_sql(statement)
        before = rows(empty)

    assert {job["id"] for job in before["jobs"]} == {1, 2, 3, 5, 6}

    for step in [*steps[-2::-1], "base"]:
        move(empty, step)
        after = rows(empty)
        keeps_hidden_jobs = "0005" <= step != "base"
        check_kept(before, after, gone=frozenset() if keeps_hidden_jobs else frozenset({6}))
        before = after

    assert before == {}

    empty.upgrade()
    empty.check_revision()


def test_rows_that_earlier_programs_wrote_are_read_and_their_jobs_resumed(empty: Database) -> None:
    for step in revisions():
        move(empty, step)
        with empty.write() as connection:
            for statement in WRITTEN.get(step, []):
                connection.exec_driver_sql(statement)

    running, *ended, late = [jobs.get(empty, number) for number in (1, 2, 3, 5)]
    assert (running.status, running.counts.classified, running.counts.pending) == (
        JobStatus.RUNNING,
        1,
        1,
    )
    assert [job.metadata for job in (running, *ended, late)] == [
        {"study": number} for number in (1, 2, 3, 5)
    ]
    assert [(job.reused, job.retention_days) for job in (*ended, late)] == [
        (0, None),
        (0, None),
        (1, 30),
    ]

    records = list(results.stream(empty, ResultFilter()))
    assert [(r.job_id, r.path, r.emotion, r.score, r.model) for r in records] == [
        (number, "a \\xe9.jpg", "fear", 0.5, "release1") for number in (1, 2, 3, 5)
    ]
    assert all(r.scores and (r.scores["fear"], r.scores["anger"]) == (0.5, 0.25) for r in records)

    claim = batches.claim(empty, None, "worker", 30.0)
    assert claim is not None
    assert (claim.job_id, claim.items, claim.rerun) == (1, [(1, "b.jpg")], False)
