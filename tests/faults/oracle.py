"""Judges a database after a fault, in plain SQL that shares only table names with the program."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa

from models.labels import EMOTIONS

Record = tuple[str, tuple[float, ...]]
"""An image's outcome, and its 28 scores if it was classified."""

Truth = Mapping[str, Record]
"""The record of each path in a run without faults."""

TOLERANCE = 1e-6

_UNSWEPT = "workers WHERE seen - coalesce(swept, started) > 6"  # Many sweeps of a campaign.

_OUTCOMES = ("classified", "no_face", "unreadable", "failed")

_BLAME = (
    "worker_died",
    "vanished",
    "folder_unreadable",
    "read_error",
    "read_timeout",
    "out_of_memory",
    "undecodable",
    "truncated",
)

_MOVES = "CREATE TABLE IF NOT EXISTS moves (what TEXT, id BIGINT, before TEXT, after TEXT)"
_NOTE = "INSERT INTO moves VALUES ('{table}', new.id, old.{column}, new.{column})"
_TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER note_{table} AFTER UPDATE ON {table} WHEN old.{column} <> new.{column}"
        " BEGIN {note}; END",
    ),
    "postgresql": (
        "CREATE FUNCTION note_{table}() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN {note}; RETURN new; END $$",
        "CREATE TRIGGER note_{table} AFTER UPDATE ON {table} FOR EACH ROW"
        " WHEN (old.{column} <> new.{column}) EXECUTE FUNCTION note_{table}()",
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What is wrong in a database; all zero if nothing is.

    Args:
        lost: images of acknowledged jobs that have no row.
        duplicated: second rows of an image, second predictions of a face, second ends of a batch.
        counter_error: the sum of the differences between the jobs' counts and their rows.
        unfinished: jobs and batches that have not ended.
        reopened: moves out of a final state.
        wrong: rows that differ from those of a run without faults.
        blamed: rows of sound images that say they cannot be read or decoded, or kill workers.
        stuck: live jobs that nothing moves: all their batches have ended, their folder is listed.
        partial: jobs that are called completed, with cancelled images.
        unswept: programs whose heart still beat, three sweeps after the last that had no error.
        misplaced: rows of a file in another job's folder, predictions by another release than the
            job's.
    """

    lost: int = 0
    duplicated: int = 0
    counter_error: int = 0
    unfinished: int = 0
    reopened: int = 0
    wrong: int = 0
    blamed: int = 0
    stuck: int = 0
    partial: int = 0
    misplaced: int = 0
    unswept: int = 0


def watch(url: str) -> None:
    """Makes the database itself note every further change of a batch's or a job's state."""
    with _connect(url) as connection:
        connection.execute(_MOVES)
        for table, column in (("batches", "state"), ("jobs", "status")):
            note = _NOTE.format(table=table, column=column)
            for trigger in _TRIGGERS[sa.make_url(url).get_backend_name()]:
                connection.execute(trigger.format(table=table, column=column, note=note))


def judge(url: str, acknowledged: Mapping[int, int], truth: Truth | None = None) -> Verdict:
    """Compares a database with what it should contain.

    Args:
        acknowledged: the jobs that were accepted, and how many images each has. None of them was
            cancelled or retried.
        truth: the expected record of every path, if known.
    """
    with _connect(url) as connection:

        def ask(sql: str) -> list[Any]:
            rows: list[Any] = connection.execute(sql).fetchall()
            return rows

        def count(table_and_condition: str) -> int:
            return int(ask(f"SELECT count(*) FROM {table_and_condition}")[0][0])

        connection.execute(_MOVES)
        jobs = {
            row[0]: row[1:]
            for row in ask(f"SELECT id, total, cancelled, {', '.join(_OUTCOMES)} FROM jobs")
        }
        expected = {job: kept[0] for job, kept in jobs.items()} | dict(acknowledged)

        paths = dict(ask("SELECT job_id, count(DISTINCT path) FROM images GROUP BY job_id"))
        rows = {
            (job, outcome): n
            for job, outcome, n in ask("SELECT job_id, outcome, count(*) FROM images GROUP BY 1, 2")
        }

        commits_too_many = ask(
            "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM moves"
            " WHERE what = 'batches' AND after = 'done' GROUP BY id) AS ends"
        )

        counter_error = sum(
            abs(total - expected[job])
            + cancelled
            + sum(
                abs(kept - rows.get((job, outcome), 0))
                for outcome, kept in zip(_OUTCOMES, counts, strict=True)
            )
            for job, (total, cancelled, *counts) in jobs.items()
        )

        return Verdict(
            lost=sum(max(n - paths.get(job, 0), 0) for job, n in expected.items()),
            duplicated=count("images")
            - sum(paths.values())
            + abs(count("predictions") - count("images WHERE outcome = 'classified'"))
            + int(commits_too_many[0][0]),
            counter_error=counter_error,
            unfinished=count("batches WHERE state <> 'done'")
            + count("jobs WHERE status <> 'completed'"),
            reopened=count("moves WHERE before NOT IN ('queued', 'running')"),
            wrong=0
            if truth is None
            else sum(
                truth.get(path) is None or not _agree(truth[path], record)
                for path, record in _records(connection)
            ),
            blamed=sum(
                (truth or {}).get(path, ("",))[0] == "classified"
                for (path,) in ask(f"SELECT path FROM images WHERE error_code IN {_BLAME}")
            ),
            stuck=count(
                "jobs WHERE status IN ('queued', 'running') AND scanned_at IS NOT NULL"
                " AND id NOT IN (SELECT job_id FROM batches WHERE state IN ('queued', 'running'))"
            ),
            partial=count("jobs WHERE status = 'completed' AND cancelled > 0"),
            misplaced=_count_misplaced(
                dict(ask("SELECT id, folder FROM jobs")), ask("SELECT job_id, path FROM images")
            )
            + count(
                "predictions p JOIN jobs j ON j.id = p.job_id"
                " WHERE p.model_release_id <> j.model_release_id"
            ),
            unswept=count(_UNSWEPT),
        )


def count_unswept(url: str) -> int:
    """Counts the programs whose sweeps fail, or do not end."""
    with _connect(url) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {_UNSWEPT}").fetchone()[0])


def _count_misplaced(folders: Mapping[int, str], images: list[tuple[int, str]]) -> int:
    """Counts images that are not in their job's folder, but in another one's."""
    files = {folder: set(_list_files(folder)) for folder in folders.values()}
    everywhere: set[str] = set().union(*files.values())
    elsewhere = {folder: everywhere - own for folder, own in files.items()}
    return sum(path in elsewhere[folders[job]] for job, path in images)


def _list_files(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), folder)


def read_truth(url: str) -> Truth:
    """The records of a run without faults."""
    with _connect(url) as connection:
        return dict(_records(connection))


def _agree(expected: Record, actual: Record) -> bool:
    (outcome, scores), (other_outcome, other_scores) = expected, actual
    if outcome != other_outcome or len(scores) != len(other_scores):
        return False
    return all(abs(a - b) <= TOLERANCE for a, b in zip(scores, other_scores, strict=True))


def _records(connection: Any) -> Iterator[tuple[str, Record]]:
    columns = ", ".join(f"p.{emotion}" for emotion in EMOTIONS)
    for path, outcome, *scores in connection.execute(
        f"SELECT i.path, i.outcome, {columns} FROM images i"
        " LEFT JOIN predictions p ON p.job_id = i.job_id AND p.number = i.number"
    ):
        yield path, (outcome, tuple(score for score in scores if score is not None))


@contextmanager
def _connect(url: str) -> Iterator[Any]:
    parsed = sa.make_url(url)

    if parsed.get_backend_name() == "sqlite":
        connection: Any = sqlite3.connect(str(parsed.database), isolation_level=None)
    else:
        connection = psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)
    try:
        yield connection
    finally:
        connection.close()
