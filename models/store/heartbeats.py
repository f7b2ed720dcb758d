"""Heartbeats: each worker program records every few seconds that it is alive, and its progress."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store import clocks
from models.store.database import Database, now_s, upsert
from models.store.states import LIVE, BatchState
from models.store.tables import Batch, Job, Trouble, Worker

BEAT_S: Final = 5.0
SILENT_S: Final = 4 * BEAT_S
"""A worker that is silent this long counts as dead; a busy database may delay a beat or two."""
KEPT_S: Final = 86_400.0
"""A dead worker is reported for a day if none replaces it: a night's losses show in the morning."""

Progress = tuple[Any, ...]
"""An opaque value that changes when work progresses."""


def beat(
    db: Database, name: str, processes: int, job_id: int | None, previous: Progress | None
) -> Progress:
    """Records that a worker is alive; deletes dead workers that it replaces or that are a day old.

    Args:
        name: `host:pid:token` of the program; other programs of a host replace a dead one.
        processes: how many of its processes classify batches.
        job_id: the only job it works on; None = all.
        previous: what the previous beat returned; None at the first.

    Raises:
        DatabaseError: nothing was recorded; the next beat may succeed.
    """
    with db.read() as connection:
        progress = tuple(connection.execute(_progress(job_id)).one())

    now = now_s()
    changes: dict[str, Any] = {
        "processes": processes,
        "job_id": job_id,
        "seen": now,
        "clock_ahead_s": clocks.read(db).ahead_s,
    }
    if progress != previous:
        changes["progressed"] = now
    if previous is None:
        # Even if there is a row of this name, the program has only just started.
        changes |= {"started": now, "swept": None}

    # A beat that a power failure undoes is as good as a late one.
    with db.write(synced=False) as connection:
        started = connection.execute(
            upsert(connection, Worker)
            .values({"name": name, "started": now, "progressed": now, **changes})
            .on_conflict_do_update(index_elements=[Worker.name], set_=changes)
            .returning(Worker.started)
        ).scalar_one()
        _delete_dead(connection, name, started)
    return progress


def note_sweep(db: Database, name: str) -> None:
    """Records that a worker has just swept without an error.

    Raises:
        DatabaseError: nothing was recorded.
    """
    with db.write(synced=False) as connection:
        connection.execute(sa.update(Worker).where(Worker.name == name).values(swept=now_s()))


def _delete_dead(connection: Connection, name: str, started: float) -> None:
    now = now_s()
    host = name.rsplit(":", 2)[0]
    is_replaced = sa.and_(
        Worker.name.startswith(f"{host}:", autoescape=True), Worker.seen < started
    )
    connection.execute(
        sa.delete(Worker).where(
            Worker.seen < now - SILENT_S, sa.or_(Worker.seen < now - KEPT_S, is_replaced)
        )
    )
    connection.execute(
        sa.delete(Trouble).where(
            Trouble.since < now - KEPT_S, Trouble.program.not_in(sa.select(Worker.name))
        )
    )


def leave(db: Database, name: str) -> None:
    """Deletes the row of a worker that was told to stop.

    Raises:
        DatabaseError: the row stays, as if the worker had died.
    """
    with db.write(synced=False) as connection:
        connection.execute(sa.delete(Worker).where(Worker.name == name))
        connection.execute(sa.delete(Trouble).where(Trouble.program == name))


def _progress(job_id: int | None) -> sa.Select[Any]:
    """Selects what changes when work progresses: results, claims and renewed leases.

    A worker renews a lease only while it gets through its images. Submitting a job changes nothing
    here: filling a queue that no worker reads is not progress.
    """
    of_jobs = sa.select(
        sa.func.sum(Job.recorded),
        sa.func.sum(Job.scan_attempt),
        sa.func.max(Job.scan_lease_until),
        sa.func.sum(Job.total),
    ).where(Job.status.in_(LIVE))
    of_batches = sa.select(sa.func.sum(Batch.attempt), sa.func.max(Batch.lease_until)).where(
        Batch.state == BatchState.RUNNING
    )
    if job_id is not None:
        of_jobs = of_jobs.where(Job.id == job_id)
        of_batches = of_batches.where(Batch.job_id == job_id)

    jobs = of_jobs.subquery()
    batches = of_batches.subquery()
    return sa.select(*jobs.c, *batches.c).select_from(jobs.join(batches, sa.true()))
