"""Batches: claimed under a lease, completed once, queued again when their worker is gone.

`attempt` is the fencing token. A claim raises it, and only the claim with the batch's present attempt may renew or
complete, so a worker that was thought dead and wakes up can do no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from models import jobs, scans
from models.database import Database, now_s
from models.queue import CLASSIFY, SCAN, Send
from models.results import Row
from models.settings import Settings
from models.states import LIVE, MAX_ATTEMPTS, BatchState, Outcome
from models.tables import Batch, Image, Job, Prediction


@dataclass(frozen=True)
class Claim:
    """The right to classify a batch, until the lease runs out. `items` are (number, path)."""

    batch_id: int
    attempt: int
    job_id: int
    items: list[tuple[int, str]]
    folder: str
    model_release_id: int


def claim(db: Database, batch_id: int | None, worker: str, lease_s: float, job_id: int | None = None) -> Claim | None:
    """Claims this batch, or the oldest queued one, of any job or of one; None when there is nothing to claim."""
    if batch_id is not None:
        target: Any = batch_id
    else:
        oldest = sa.select(Batch.id).where(Batch.state == BatchState.QUEUED).order_by(Batch.id).limit(1)
        if job_id is not None:
            oldest = oldest.where(Batch.job_id == job_id)
        with db.read() as connection:  # Idle workers ask often; only one that finds something takes the write lock.
            if connection.scalar(oldest) is None:
                return None
        target = (oldest if db.is_sqlite else oldest.with_for_update(skip_locked=True)).scalar_subquery()
    with db.write(synced=False) as connection:
        row = connection.execute(
            sa.update(Batch)
            .where(Batch.id == target, Batch.state == BatchState.QUEUED)
            .values(state=BatchState.RUNNING, attempt=Batch.attempt + 1, lease_until=now_s() + lease_s, worker=worker)
            .returning(Batch.id, Batch.attempt, Batch.job_id, Batch.items)
        ).one_or_none()
        if row is None:
            return None
        job = connection.execute(sa.select(Job.folder, Job.model_release_id).where(Job.id == row.job_id)).one()
    return Claim(row.id, row.attempt, row.job_id, [(n, p) for n, p in row.items], job.folder, job.model_release_id)


def renew(db: Database, mine: Claim, lease_s: float) -> bool:
    """Extends the lease; False when the claim is lost and the work should be dropped."""
    with db.write(synced=False) as connection:
        moved = connection.execute(sa.update(Batch).where(*_mine(mine)).values(lease_until=now_s() + lease_s))
        return bool(moved.rowcount)


def complete(db: Database, mine: Claim, rows: Sequence[Row]) -> bool:
    """Records a batch's images, predictions and counts in one transaction; False when the claim is lost.

    Args:
        rows: one for each of the claim's items.
    """
    with db.write() as connection:
        if not db.is_sqlite:
            # The job's row is locked before its batch, here as in `jobs.cancel`, or the two could deadlock.
            connection.execute(sa.select(Job.id).where(Job.id == mine.job_id).with_for_update())
        moved = connection.execute(
            sa.update(Batch).where(*_mine(mine)).values(state=BatchState.DONE, items=None, lease_until=None)
        )
        if moved.rowcount:
            _record(connection, db, mine.job_id, mine.model_release_id, rows)
        return bool(moved.rowcount)


def _record(connection: Connection, db: Database, job_id: int, release_id: int, rows: Sequence[Row]) -> None:
    counted = {outcome: sum(row.outcome is outcome for row in rows) for outcome in Outcome}
    connection.execute(
        sa.update(Job)
        .where(Job.id == job_id)
        .values({outcome.value: getattr(Job, outcome.value) + n for outcome, n in counted.items() if n})
    )
    insert = sqlite.insert if db.is_sqlite else postgresql.insert
    connection.execute(
        insert(Image).on_conflict_do_nothing(),
        [
            {
                "job_id": job_id,
                "number": row.number,
                "path": row.path,
                "outcome": row.outcome.value,
                "error_code": row.error_code,
                "error_message": row.error_message,
            }
            for row in rows
        ],
    )
    predictions = [
        {"job_id": job_id, "number": row.number, "face": 0, "model_release_id": release_id, **row.prediction()}
        for row in rows
        if row.scores is not None
    ]
    if predictions:
        connection.execute(insert(Prediction).on_conflict_do_nothing(), predictions)
    jobs.complete_if_ended(connection, job_id)


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
    with db.write() as connection:
        return _requeue(connection, db, Batch.lease_until < now_s())


def _requeue(connection: Connection, db: Database, which: sa.ColumnElement[bool]) -> int:
    query = sa.select(Batch).where(Batch.state == BatchState.RUNNING, which).order_by(Batch.id)
    found = connection.execute(query if db.is_sqlite else query.with_for_update(skip_locked=True)).all()
    for row in found:
        this = sa.update(Batch).where(Batch.id == row.id)
        items = [(number, path) for number, path in row.items]
        if row.attempt < MAX_ATTEMPTS:
            connection.execute(this.values(state=BatchState.QUEUED, lease_until=None, hinted_at=None))
            continue
        ended = this.values(state=BatchState.DONE, items=None, lease_until=None)
        if row.size > 1:
            # One of these may kill its worker. A half that loses its worker is halved again at once; an image alone
            # has all attempts anew, for what befell its batch may have been another's doing.
            connection.execute(ended.values(size=0))
            middle = row.size // 2
            for half in (items[:middle], items[middle:]):
                jobs.add_batch(connection, row.job_id, half, attempt=MAX_ATTEMPTS - 1 if len(half) > 1 else 0)
        else:
            connection.execute(ended)
            message = f"The worker died {row.attempt} times on this image alone."
            image = Row(items[0][0], items[0][1], Outcome.FAILED, "worker_died", message)
            release_id = connection.execute(sa.select(Job.model_release_id).where(Job.id == row.job_id)).scalar_one()
            _record(connection, db, row.job_id, release_id, [image])
    return len(found)


def dispatch(db: Database, send: Send, settings: Settings) -> int:
    """Announces due scans and batches to the queue, so that about `dispatch_window` batches are announced at a time.

    A message may be lost: what has been waiting for `rehint_s` is announced again. Returns how many messages were sent.
    """
    stale = now_s() - settings.rehint_s
    with db.read() as connection:
        scans, batches = _due(connection, stale, settings.dispatch_window)
    if not scans and not batches:
        return 0
    with db.write() as connection:
        # Marked before they are sent: two dispatchers at once send each once, and a lost message is sent again.
        scans = _mark(connection, Job, Job.scan_hinted_at, scans, stale)
        batches = _mark(connection, Batch, Batch.hinted_at, batches, stale)
    messages = [*((SCAN, i) for i in scans), *((CLASSIFY, i) for i in batches)]
    for sent, (task, identity) in enumerate(messages):
        if not send(task, identity):
            _unmark(db, messages[sent:])
            return sent
    return len(messages)


def _due(connection: Connection, stale: sa.ColumnElement[float], window: int) -> tuple[list[int], list[int]]:
    scans = connection.scalars(
        sa.select(Job.id)
        .where(
            Job.status.in_(LIVE),
            Job.scanned_at.is_(None),
            sa.or_(Job.scan_lease_until.is_(None), Job.scan_lease_until < now_s()),
            sa.or_(Job.scan_hinted_at.is_(None), Job.scan_hinted_at < stale),
        )
        .order_by(Job.id)
    ).all()
    waiting = connection.execute(
        sa.select(sa.func.count()).select_from(Batch).where(Batch.state == BatchState.QUEUED, Batch.hinted_at >= stale)
    ).scalar_one()
    if waiting > window // 2:  # Filled up by halves, not message by message: most dispatches then only look.
        return list(scans), []
    batches = connection.scalars(
        sa.select(Batch.id)
        .where(Batch.state == BatchState.QUEUED, sa.or_(Batch.hinted_at.is_(None), Batch.hinted_at < stale))
        .order_by(Batch.id)
        .limit(window - waiting)
    ).all()
    return list(scans), list(batches)


def _mark(connection: Connection, table: Any, column: Any, ids: list[int], stale: sa.ColumnElement[float]) -> list[int]:
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
    return (Batch.id == mine.batch_id, Batch.state == BatchState.RUNNING, Batch.attempt == mine.attempt)
