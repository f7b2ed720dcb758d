"""Heartbeats: each worker program tells the database every few seconds that it lives, and whether work moves on."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from models.store.database import Database, now_s
from models.store.states import LIVE, BatchState
from models.store.tables import Batch, Job, Worker

BEAT_S: Final = 5.0
SILENT_S: Final = 4 * BEAT_S
"""A worker unheard of for this long is taken for dead: the database may well be busy for one beat or two."""
KEPT_S: Final = 86_400.0
"""A dead worker whose place nobody took is reported for a day, so that a night's losses are seen in the morning."""

Progress = tuple[Any, ...]
"""Something that differs when work has moved on; what is in it is nobody's business."""


def beat(
    db: Database, name: str, processes: int, job_id: int | None, before: Progress | None
) -> Progress:
    """Tells that a worker lives, and clears away the rows of dead ones: a day old, or of its host and replaced by it.

    Args:
        name: `host:pid` of the program.
        processes: how many of its processes are there to do batches.
        job_id: the only job it works on; None = all.
        before: what the last beat returned.

    Raises:
        DatabaseError: nothing was told; the next beat may succeed.
    """
    with db.read() as connection:
        progress = tuple(connection.execute(_progress(job_id)).one())
    now = now_s()
    changed: dict[str, Any] = {"processes": processes, "job_id": job_id, "seen": now}
    if progress != before:
        changed["progressed"] = now
    if (
        before is None
    ):  # It may have the name of one that died: a container's programs have the same ones each time.
        changed["started"] = now
    insert = sqlite.insert if db.is_sqlite else postgresql.insert
    told = (
        insert(Worker)
        .values({"name": name, "started": now, "progressed": now, **changed})
        .on_conflict_do_update(index_elements=[Worker.name], set_=changed)
        .returning(Worker.started)
    )
    # A beat that a loss of power undoes is as good as one that came a little later.
    with db.write(synced=False) as connection:
        started = connection.execute(told).scalar_one()
        host = name.rpartition(":")[0]
        replaced = sa.and_(
            Worker.name.startswith(f"{host}:", autoescape=True), Worker.seen < started
        )
        connection.execute(
            sa.delete(Worker).where(
                Worker.seen < now - SILENT_S, sa.or_(Worker.seen < now - KEPT_S, replaced)
            )
        )
    return progress


def leave(db: Database, name: str) -> None:
    """A worker has stopped, as it was told to.

    Raises:
        DatabaseError: its row stays, as if it had died.
    """
    with db.write(synced=False) as connection:
        connection.execute(sa.delete(Worker).where(Worker.name == name))


def _progress(job_id: int | None) -> sa.Select[Any]:
    """Images that ended, batches and scans that were claimed, leases that were renewed.

    A lease is renewed only as long as its holder gets on with its images, and a folder that is listed renews its own.
    Submitting a job changes nothing: a queue that nobody reads is not the better for being filled.
    """
    ended = Job.classified + Job.no_face + Job.unreadable + Job.failed
    of_jobs = sa.select(
        sa.func.sum(ended),
        sa.func.sum(Job.scan_attempt),
        sa.func.max(Job.scan_lease_until),
        sa.func.sum(Job.total),
    ).where(Job.status.in_(LIVE), *([] if job_id is None else [Job.id == job_id]))
    of_batches = sa.select(sa.func.sum(Batch.attempt), sa.func.max(Batch.lease_until)).where(
        Batch.state == BatchState.RUNNING, *([] if job_id is None else [Batch.job_id == job_id])
    )
    jobs, batches = of_jobs.subquery(), of_batches.subquery()
    return sa.select(*jobs.c, *batches.c).select_from(jobs.join(batches, sa.true()))
