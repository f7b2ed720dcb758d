"""Troubles: networks and detectors that a worker program cannot load.

A program loads what a job needs before it claims any of its work. It notes the attempt before it
begins, so that a row is left if loading kills the process, and deletes the row when it succeeds.
After an attempt that failed, the program stays away from such jobs for a while.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import CuemillError, EngineError
from models.store import backoff, cancellation
from models.store.database import Database, now_s, upsert
from models.store.heartbeats import SILENT_S
from models.store.states import LIVE
from models.store.tables import Job, ModelRelease, Trouble, Worker

DIED: Final = (
    "A process died while it loaded or tried out {}. The host may have too little memory, or a CPU "
    "that cannot run it; the worker's log may say more."
)


def begin(db: Database, program: str, sha256: str, name: str) -> bool:
    """Notes that this process now loads a file. Returns False if it must not, for a while.

    Args:
        program: the name of the worker program, as in `workers`.
        sha256: the file's digest.
        name: of the file, for people.
    """
    died = {"code": EngineError.code, "reason": DIED.format(name)}
    attempt = {"process": os.getpid(), "not_before": None}
    with db.write() as connection:
        row = _find(connection, program, sha256)
        if row is None:
            first = {"program": program, "sha256": sha256, "tries": 0, "since": now_s()}
            insert = upsert(connection, Trouble).values(attempt | died | first)
            connection.execute(insert.on_conflict_do_nothing())
            return True

        if row.not_before is None and _is_alive(row.process):
            return True  # Another process of the program loads it, too.

        if row.not_before is None:
            _postpone(connection, row, **died)
            return False

        if row.is_due:  # The last attempt's reason holds until this one has ended.
            connection.execute(sa.update(Trouble).where(*_is(program, sha256)).values(attempt))
        return bool(row.is_due)


def fail(db: Database, program: str, sha256: str, error: Exception) -> None:
    """Notes why a file cannot be loaded; the program tries again after a while."""
    known = isinstance(error, CuemillError)
    values = {
        "code": error.code if isinstance(error, CuemillError) else EngineError.code,
        "reason": str(error) if known else f"{type(error).__name__}: {error}.",
    }
    with db.write() as connection:
        row = _find(connection, program, sha256)
        if row is not None:
            _postpone(connection, row, **values)


def end(db: Database, program: str, sha256: str) -> None:
    """Notes that a file was loaded."""
    with db.write() as connection:
        connection.execute(sa.delete(Trouble).where(*_is(program, sha256)))


def is_in_trouble(db: Database, program: str) -> bool:
    """Whether a program stays away from some jobs at present."""
    with db.read() as connection:
        query = sa.select(Trouble.sha256).where(
            Trouble.program == program, ~backoff.is_due(Trouble.not_before)
        )
        return connection.scalar(query.limit(1)) is not None


def give_up(db: Database, give_up_s: float) -> None:
    """Fails the jobs that no living worker program has been able to run for `give_up_s`."""
    with db.read() as connection:
        now: float = connection.execute(sa.select(now_s())).scalar_one()
        rows = connection.execute(sa.select(Trouble.__table__)).all()
        if not rows:
            return

        programs = connection.execute(
            sa.select(Worker.name, Worker.job_id).where(Worker.seen > now - SILENT_S)
        ).all()
        digests = {row.sha256 for row in rows}
        jobs = connection.execute(
            sa.select(Job.id, ModelRelease.sha256, Job.detector_sha256)
            .join(ModelRelease)
            .where(
                Job.status.in_(LIVE),
                sa.or_(ModelRelease.sha256.in_(digests), Job.detector_sha256.in_(digests)),
                sa.func.coalesce(Job.running_at, Job.queued_at)
                < datetime.fromtimestamp(now, UTC) - timedelta(seconds=give_up_s),
            )
        ).all()

    for job in jobs:
        serving = {row.name for row in programs if row.job_id in (None, job.id)}
        hopeless = [
            row
            for row in rows
            if row.program in serving
            and row.sha256 in (job.sha256, job.detector_sha256)
            and row.tries >= backoff.MIN_TRIES
            and row.since < now - give_up_s
        ]
        if serving and serving == {row.program for row in hopeless}:
            message = f"{hopeless[0].reason} No worker's host succeeded within {give_up_s:.0f} s."
            cancellation.fail_job(db, job.id, hopeless[0].code, message)


def _is(program: str, sha256: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (Trouble.program == program, Trouble.sha256 == sha256)


def _find(connection: Connection, program: str, sha256: str) -> Row[Any] | None:
    is_due = backoff.is_due(Trouble.not_before).label("is_due")
    query = sa.select(Trouble.__table__, is_due).where(*_is(program, sha256))
    return connection.execute(query.with_for_update()).one_or_none()


def _postpone(connection: Connection, row: Row[Any], **values: Any) -> None:
    pause = backoff.after_try(connection, row.tries, row.since)
    values |= {"process": None, "tries": pause["tries"], "not_before": pause["not_before"]}
    connection.execute(sa.update(Trouble).where(*_is(row.program, row.sha256)).values(values))


def _is_alive(process_id: int | None) -> bool:
    """Whether a process of this program, and so of this host, still runs."""
    if process_id is None:
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
