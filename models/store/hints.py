"""Hints: messages that tell a queue which scans, batches and trainings are due.

The database decides what is due; a message only says where to look. Each row remembers when it was
last announced, and is announced again if no worker has claimed it within `rehint_s`, so a lost
message costs time but no work.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstrumentedAttribute

from models.queue import CLASSIFY, SCAN, TRAIN, Send
from models.settings import Settings
from models.store import batches, scans, trainings
from models.store.database import Database, now_s
from models.store.leases import has_rows
from models.store.tables import Batch, Job, Training

Message = tuple[str, int]
"""A task's name, and the id of the row that it is about."""

_HINTED_AT: Final[dict[str, InstrumentedAttribute[float | None]]] = {
    SCAN: Job.scan_hinted_at,
    CLASSIFY: Batch.hinted_at,
    TRAIN: Training.hinted_at,
}


def work_is_waiting(db: Database) -> bool:
    """Whether a scan or a batch is due, for any worker to claim."""
    batch_due = batches.LEASES.oldest_due().exists()
    scan_due = scans.LEASES.oldest_due().exists()
    with db.read() as connection:
        return bool(connection.scalar(sa.select(sa.or_(batch_due, scan_due))))


def training_is_waiting(db: Database) -> bool:
    """Whether a training is due, for any worker to claim."""
    return has_rows(db, trainings.LEASES.oldest_due())


def send_due(db: Database, send: Send, settings: Settings) -> int:
    """Announces due scans and batches, keeping about `dispatch_window` batches announced at a time.

    Returns:
        How many messages were sent.
    """
    with db.read() as connection:
        scan_ids = _due_scans(connection, settings.rehint_s)
        batch_ids = _due_batches(connection, settings.rehint_s, settings.dispatch_window)
    if not scan_ids and not batch_ids:
        return 0

    # Marked before they are sent: of two programs that do this at once, one sends each message.
    with db.write() as connection:
        scan_ids = _mark(connection, SCAN, scan_ids, settings.rehint_s)
        batch_ids = _mark(connection, CLASSIFY, batch_ids, settings.rehint_s)

    messages = [(SCAN, job_id) for job_id in scan_ids]
    messages += [(CLASSIFY, batch_id) for batch_id in batch_ids]
    return _send(db, send, messages)


def send_due_trainings(db: Database, send: Send, rehint_s: float) -> int:
    """Announces due trainings.

    Returns:
        How many messages were sent.
    """
    unanswered = _is_unanswered(TRAIN, rehint_s)
    if not has_rows(db, trainings.LEASES.oldest_due(unanswered)):
        return 0

    with db.write() as connection:
        training_ids = connection.scalars(
            sa.update(Training)
            .where(*trainings.LEASES.due, unanswered)
            .values(hinted_at=now_s())
            .returning(Training.id)
        ).all()
    return _send(db, send, [(TRAIN, training_id) for training_id in sorted(training_ids)])


def _is_unanswered(task: str, rehint_s: float) -> sa.ColumnElement[bool]:
    hinted_at = _HINTED_AT[task]
    return sa.or_(
        hinted_at.is_(None),
        hinted_at < now_s() - rehint_s,
        hinted_at > now_s() + rehint_s,  # The database's clock has stepped back since.
    )


def _due_scans(connection: Connection, rehint_s: float) -> list[int]:
    unanswered = _is_unanswered(SCAN, rehint_s)
    return list(
        connection.scalars(sa.select(Job.id).where(*scans.LEASES.due, unanswered).order_by(Job.id))
    )


def _due_batches(connection: Connection, rehint_s: float, window: int) -> list[int]:
    announced = connection.execute(
        sa.select(sa.func.count())
        .select_from(Batch)
        .where(*batches.LEASES.due, sa.not_(_is_unanswered(CLASSIFY, rehint_s)))
    ).scalar_one()

    # The window is refilled by halves rather than message by message, so that most calls only read.
    if announced > window // 2:
        return []
    return list(
        connection.scalars(
            sa.select(Batch.id)
            .where(*batches.LEASES.due, _is_unanswered(CLASSIFY, rehint_s))
            .order_by(Batch.id)
            .limit(window - announced)
        )
    )


def _mark(connection: Connection, task: str, ids: list[int], rehint_s: float) -> list[int]:
    """Marks rows as announced; returns those that no other program has just marked."""
    if not ids:
        return []
    hinted_at = _HINTED_AT[task]
    table = hinted_at.class_
    marked = connection.scalars(
        sa.update(table)
        .where(table.id.in_(ids), _is_unanswered(task, rehint_s))
        .values({hinted_at: now_s()})
        .returning(table.id)
    )
    return sorted(marked)


def _send(db: Database, send: Send, messages: Sequence[Message]) -> int:
    """Sends messages until the queue is unreachable; the next sweep sends the rest."""
    for sent, (task, row_id) in enumerate(messages):
        if not send(task, row_id):
            _unmark(db, messages[sent:])
            return sent
    return len(messages)


def _unmark(db: Database, messages: Sequence[Message]) -> None:
    with db.write() as connection:
        for task, hinted_at in _HINTED_AT.items():
            ids = [row_id for name, row_id in messages if name == task]
            if ids:
                table = hinted_at.class_
                connection.execute(
                    sa.update(table).where(table.id.in_(ids)).values({hinted_at: None})
                )
