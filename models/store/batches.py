"""Batches: claimed under a lease, completed once, queued again when their worker is gone.

`attempt` is the fencing token. A claim raises it, and only the claim with the batch's present attempt may renew or
complete, so a worker that was thought dead and wakes up can do no harm.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import ImageCode
from models.labels import EMOTIONS
from models.queue import CLASSIFY, SCAN, Send
from models.settings import Settings
from models.store import bulk, jobs, scans
from models.store.database import Database, now_s
from models.store.records import ImageRecord
from models.store.states import MAX_ATTEMPTS, BatchState, Outcome
from models.store.tables import Batch, Image, Job, Prediction

_IMAGE = (
    *("job_id", "number", "path", "outcome", "error_code", "error_message"),
    *("fingerprint", "size", "mtime_ns", "reused"),
)
_PREDICTION = ("job_id", "number", "face", "model_release_id", "emotion", "score", *EMOTIONS)


@dataclass(frozen=True)
class Claim:
    """The right to classify a batch, until the lease runs out. `items` are (number, path)."""

    batch_id: int
    attempt: int
    job_id: int
    items: list[tuple[int, str]]
    folder: str
    model_release_id: int
    rerun: bool = False


def claim(
    db: Database, batch_id: int | None, worker: str, lease_s: float, job_id: int | None = None
) -> Claim | None:
    """Claims this batch, or the oldest queued one, of any job or of one; None when there is nothing to claim."""
    if batch_id is not None:
        target: Any = batch_id
    else:
        oldest = (
            sa.select(Batch.id).where(Batch.state == BatchState.QUEUED).order_by(Batch.id).limit(1)
        )
        if job_id is not None:
            oldest = oldest.where(Batch.job_id == job_id)
        with (
            db.read() as connection
        ):  # Idle workers ask often; only one that finds something takes the write lock.
            if connection.scalar(oldest) is None:
                return None
        target = (
            oldest if db.is_sqlite else oldest.with_for_update(skip_locked=True)
        ).scalar_subquery()
    with db.write(synced=False) as connection:
        row = connection.execute(
            sa.update(Batch)
            .where(Batch.id == target, Batch.state == BatchState.QUEUED)
            .values(
                state=BatchState.RUNNING,
                attempt=Batch.attempt + 1,
                lease_until=now_s() + lease_s,
                worker=worker,
            )
            .returning(Batch.id, Batch.attempt, Batch.job_id, Batch.items, Batch.rerun)
        ).one_or_none()
        if row is None:
            return None
        job = connection.execute(
            sa.select(Job.folder, Job.model_release_id).where(Job.id == row.job_id)
        ).one()
    items = [(number, path) for number, path in row.items]
    return Claim(
        row.id, row.attempt, row.job_id, items, job.folder, job.model_release_id, row.rerun
    )


def renew(db: Database, mine: Claim, lease_s: float) -> bool:
    """Extends the lease; False when the claim is lost and the work should be dropped."""
    with db.write(synced=False) as connection:
        moved = connection.execute(
            sa.update(Batch).where(*_mine(mine)).values(lease_until=now_s() + lease_s)
        )
        return bool(moved.rowcount)


def complete(db: Database, mine: Claim, rows: Sequence[ImageRecord]) -> bool:
    """Records a batch's images, predictions and counts in one transaction; False when the claim is lost.

    Args:
        rows: one for each of the claim's items.
    """
    with db.write() as connection:
        if not db.is_sqlite:
            # The job's row is locked before its batch, here as in `jobs.cancel`, or the two could deadlock.
            connection.execute(sa.select(Job.id).where(Job.id == mine.job_id).with_for_update())
        moved = connection.execute(
            sa.update(Batch)
            .where(*_mine(mine))
            .values(state=BatchState.DONE, items=None, lease_until=None)
        )
        if moved.rowcount:
            _record(connection, mine.job_id, mine.model_release_id, rows, mine.rerun)
        return bool(moved.rowcount)


def _record(
    connection: Connection, job_id: int, release_id: int, rows: Sequence[ImageRecord], rerun: bool
) -> None:
    counted = Counter(row.outcome.value for row in rows)
    if rerun:
        rows = _replace(connection, job_id, rows)
        counted = Counter(row.outcome.value for row in rows) + Counter(
            classified=counted.total() - len(rows)
        )
    counted["reused"] = sum(row.reused for row in rows)
    connection.execute(
        sa.update(Job)
        .where(Job.id == job_id)
        .values({name: getattr(Job, name) + n for name, n in counted.items() if n})
    )
    if rows:
        _insert(connection, job_id, release_id, rows)
    jobs.complete_if_ended(connection, job_id)


def _replace(connection: Connection, job_id: int, rows: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Makes room for the rows of a re-run: for those that got no result, the old one stays. Returns the others."""
    better = [row for row in rows if row.outcome in (Outcome.CLASSIFIED, Outcome.NO_FACE)]
    for table in (Prediction, Image):
        old = sa.and_(table.job_id == job_id, table.number.in_([row.number for row in better]))
        connection.execute(sa.delete(table).where(old))
    return better


def _insert(
    connection: Connection, job_id: int, release_id: int, rows: Sequence[ImageRecord]
) -> None:
    images = [
        (
            job_id,
            row.number,
            row.path,
            row.outcome.value,
            row.error_code,
            row.error_message,
            row.origin.fingerprint,
            row.origin.size,
            row.origin.mtime_ns,
            row.reused,
        )
        for row in rows
    ]
    predictions = [
        (job_id, row.number, 0, release_id, *row.prediction())
        for row in rows
        if row.scores is not None
    ]
    # No key is taken: the scan gave each image its number, and whoever isn't fenced off is the first to record it.
    bulk.insert(connection, Image, _IMAGE, images)
    if predictions:
        bulk.insert(connection, Prediction, _PREDICTION, predictions)


def release(db: Database, worker: str) -> None:
    """Queues again what a worker that is known to be gone had claimed, without waiting for its leases."""
    with db.write() as connection:
        scans.release_claims(connection, worker)
        _requeue(connection, db, Batch.worker == worker)


def sweep(db: Database) -> int:
    """Queues again what nobody works on any more; safe at any time, in any number of processes.

    Returns how many batches were queued again.
    """
    with db.read() as connection:
        late = connection.scalar(
            sa.select(sa.func.count())
            .select_from(Batch)
            .where(Batch.state == BatchState.RUNNING, Batch.lease_until < now_s())
        )
    if not late:
        return 0
    db.end_frozen()
    with db.write() as connection:
        return _requeue(connection, db, Batch.lease_until < now_s())


def _requeue(connection: Connection, db: Database, which: sa.ColumnElement[bool]) -> int:
    query = sa.select(Batch).where(Batch.state == BatchState.RUNNING, which).order_by(Batch.id)
    if not db.is_sqlite:
        # Jobs before their batches, as in `complete`, or the two could deadlock. A job whose row is held is left to the
        # next sweep: the holder may be frozen, and then only a sweep ends it.
        mine = sa.select(Batch.job_id).where(Batch.state == BatchState.RUNNING, which)
        held = connection.scalars(
            sa.select(Job.id).where(Job.id.in_(mine)).with_for_update(skip_locked=True)
        )
        query = query.where(Batch.job_id.in_(held.all())).with_for_update(skip_locked=True)
    found = connection.execute(query).all()
    for row in found:
        this = sa.update(Batch).where(Batch.id == row.id)
        items = [(number, path) for number, path in row.items]
        if row.attempt < MAX_ATTEMPTS:
            connection.execute(
                this.values(state=BatchState.QUEUED, lease_until=None, hinted_at=None)
            )
            continue
        ended = this.values(state=BatchState.DONE, items=None, lease_until=None)
        if row.size > 1:
            # One of these may kill its worker. A half that loses its worker is halved again at once; an image alone
            # has all attempts anew, for what befell its batch may have been another's doing.
            connection.execute(ended.values(size=0))
            middle = row.size // 2
            for half in (items[:middle], items[middle:]):
                jobs.add_batch(
                    connection,
                    row.job_id,
                    half,
                    attempt=MAX_ATTEMPTS - 1 if len(half) > 1 else 0,
                    rerun=row.rerun,
                )
        else:
            connection.execute(ended)
            message = f"The worker died {row.attempt} times on this image alone."
            image = ImageRecord(
                items[0][0], items[0][1], Outcome.FAILED, ImageCode.WORKER_DIED.value, message
            )
            release_id = connection.execute(
                sa.select(Job.model_release_id).where(Job.id == row.job_id)
            ).scalar_one()
            _record(connection, row.job_id, release_id, [image], row.rerun)
    return len(found)


def waiting(db: Database) -> bool:
    """Whether there is a batch or a scan for any worker to take."""
    batch = sa.select(Batch.id).where(Batch.state == BatchState.QUEUED)
    scan = sa.select(Job.id).where(*scans.DUE)
    with db.read() as connection:
        return bool(connection.scalar(sa.select(sa.or_(batch.exists(), scan.exists()))))


def dispatch(db: Database, send: Send, settings: Settings) -> int:
    """Announces due scans and batches to the queue, so that about `dispatch_window` batches are announced at a time.

    A message may be lost: what has been waiting for `rehint_s` is announced again. Returns how many messages were sent.
    """
    stale = now_s() - settings.rehint_s
    with db.read() as connection:
        folders, batches = _due(connection, stale, settings.dispatch_window)
    if not folders and not batches:
        return 0
    with db.write() as connection:
        # Marked before they are sent: two dispatchers at once send each once, and a lost message is sent again.
        folders = _mark(connection, Job, Job.scan_hinted_at, folders, stale)
        batches = _mark(connection, Batch, Batch.hinted_at, batches, stale)
    messages = [*((SCAN, i) for i in folders), *((CLASSIFY, i) for i in batches)]
    for sent, (task, identity) in enumerate(messages):
        if not send(task, identity):
            _unmark(db, messages[sent:])
            return sent
    return len(messages)


def _due(
    connection: Connection, stale: sa.ColumnElement[float], window: int
) -> tuple[list[int], list[int]]:
    unanswered = sa.or_(Job.scan_hinted_at.is_(None), Job.scan_hinted_at < stale)
    folders = connection.scalars(
        sa.select(Job.id).where(*scans.DUE, unanswered).order_by(Job.id)
    ).all()
    waiting = connection.execute(
        sa.select(sa.func.count())
        .select_from(Batch)
        .where(Batch.state == BatchState.QUEUED, Batch.hinted_at >= stale)
    ).scalar_one()
    if (
        waiting > window // 2
    ):  # Filled up by halves, not message by message: most dispatches then only look.
        return list(folders), []
    batches = connection.scalars(
        sa.select(Batch.id)
        .where(
            Batch.state == BatchState.QUEUED,
            sa.or_(Batch.hinted_at.is_(None), Batch.hinted_at < stale),
        )
        .order_by(Batch.id)
        .limit(window - waiting)
    ).all()
    return list(folders), list(batches)


def _mark(
    connection: Connection, table: Any, column: Any, ids: list[int], stale: sa.ColumnElement[float]
) -> list[int]:
    if not ids:
        return []
    marked = connection.scalars(
        sa.update(table)
        .where(table.id.in_(ids), sa.or_(column.is_(None), column < stale))
        .values({column.key: now_s()})
        .returning(table.id)
    )
    return sorted(marked)


def _unmark(db: Database, messages: list[tuple[str, int]]) -> None:
    with db.write() as connection:
        for task, table, column in ((SCAN, Job, "scan_hinted_at"), (CLASSIFY, Batch, "hinted_at")):
            ids = [identity for name, identity in messages if name == task]
            connection.execute(sa.update(table).where(table.id.in_(ids)).values({column: None}))


def _mine(mine: Claim) -> tuple[Any, ...]:
    return (
        Batch.id == mine.batch_id,
        Batch.state == BatchState.RUNNING,
        Batch.attempt == mine.attempt,
    )
