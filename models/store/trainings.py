"""Trainings: submitted, claimed under a lease, told epoch by epoch, ended once. `models/states.py` draws the moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Row

from models.errors import CuemillError, NotFoundError
from models.queue import TRAIN, Send
from models.store.database import Database, now_s
from models.store.states import LIVE, MAX_ATTEMPTS, JobStatus
from models.store.tables import Training, TrainingEpoch

CANDIDATES: Final = (
    *("model1", "model2", "model3", "model4", "model5"),
    *("model3_long", "mobilenetv2", "cuemill1", "cuemill1_tune"),
)
"""Those of `trainer/candidates.py`, for who may not import it."""


@dataclass(frozen=True)
class TrainingView:
    """A training as users see it.

    Attributes:
        plan: what to train on what, as `trainer.plan.Plan` has it.
        candidate, epochs: the one being fitted, and how many epochs it takes at most.
        history: for each epoch done, in order: candidate, epoch, loss, accuracy, val_loss, val_accuracy, seconds.
        comparison: at the end, a row for each candidate.
        model_release_id: at the end, the chosen one's.
    """

    id: int
    plan: dict[str, Any]
    status: JobStatus
    candidate: str | None
    epochs: int | None
    history: list[dict[str, Any]]
    comparison: list[dict[str, Any]] | None
    model_release_id: int | None
    error: dict[str, str] | None
    queued_at: datetime
    running_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None


@dataclass(frozen=True)
class TrainingClaim:
    """The right to train, until the lease runs out."""

    training_id: int
    attempt: int
    plan: dict[str, Any]


def submit(db: Database, plan: Mapping[str, Any]) -> TrainingView:
    """A queued training."""
    values = {
        "plan": dict(plan),
        "status": JobStatus.QUEUED,
        "queued_at": datetime.now(UTC),
        "attempt": 0,
        "losses": 0,
    }
    with db.write() as connection:
        made = connection.execute(
            sa.insert(Training).values(**values).returning(Training.id)
        ).scalar_one()
        return _view(connection, made)


def get(db: Database, training_id: int) -> TrainingView:
    """
    Raises:
        NotFoundError: no such training.
    """
    with db.read() as connection:
        return _view(connection, training_id)


def newest(db: Database, limit: int = 50, before: int | None = None) -> list[TrainingView]:
    """Trainings, newest first, older than `before`."""
    query = sa.select(Training).order_by(Training.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Training.id < before)
    with db.read() as connection:
        rows = connection.execute(query).all()
        epochs = _epochs(connection, [row.id for row in rows])
    return [_from_row(row, epochs[row.id]) for row in rows]


def cancel(db: Database, training_id: int) -> TrainingView:
    """Ends a training; its worker notices within a second or two. On one that has ended it does nothing."""
    with db.write() as connection:
        connection.execute(
            sa.update(Training)
            .where(Training.id == training_id, Training.status.in_(LIVE))
            .values(status=JobStatus.CANCELLED, cancelled_at=datetime.now(UTC), lease_until=None)
        )
        return _view(connection, training_id)


def claim(
    db: Database, training_id: int | None, worker: str, lease_s: float
) -> TrainingClaim | None:
    """Claims this training, or the oldest queued one; None when there is nothing to claim."""
    oldest = (
        sa.select(Training.id)
        .where(Training.status == JobStatus.QUEUED)
        .order_by(Training.id)
        .limit(1)
    )
    if training_id is not None:
        oldest = oldest.where(Training.id == training_id)
    with (
        db.read() as connection
    ):  # Idle workers ask often; only one that finds something takes the write lock.
        if connection.scalar(oldest) is None:
            return None
    target = (
        oldest if db.is_sqlite else oldest.with_for_update(skip_locked=True)
    ).scalar_subquery()
    with db.write() as connection:
        row = connection.execute(
            sa.update(Training)
            .where(Training.id == target, Training.status == JobStatus.QUEUED)
            .values(
                status=JobStatus.RUNNING,
                running_at=sa.func.coalesce(Training.running_at, datetime.now(UTC)),
                attempt=Training.attempt + 1,
                lease_until=now_s() + lease_s,
                worker=worker,
            )
            .returning(Training.id, Training.attempt, Training.plan)
        ).one_or_none()
    return TrainingClaim(*row) if row else None


def renew(db: Database, mine: TrainingClaim, lease_s: float) -> bool:
    """Extends the lease; False when the training was cancelled or is another's, and the work should be dropped."""
    return _move(db, mine, lease_until=now_s() + lease_s)


def begin_candidate(db: Database, mine: TrainingClaim, candidate: str, epochs: int) -> bool:
    """A candidate's turn has come; False as in `renew`."""
    return _move(db, mine, candidate=candidate, epochs=epochs)


def record_epochs(
    db: Database, mine: TrainingClaim, candidate: str, history: Sequence[Mapping[str, float]]
) -> bool:
    """Writes down the epochs of a candidate that aren't yet; False as in `renew`."""
    rows = [
        {"training_id": mine.training_id, "candidate": candidate, "epoch": number, **metrics}
        for number, metrics in enumerate(history, 1)
    ]
    with db.write() as connection:
        held = connection.execute(
            sa.update(Training).where(*_mine(mine)).values(attempt=mine.attempt)
        )
        if held.rowcount and rows:
            insert = sqlite.insert if db.is_sqlite else postgresql.insert
            connection.execute(insert(TrainingEpoch).on_conflict_do_nothing(), rows)
        return bool(held.rowcount)


def complete(
    db: Database, mine: TrainingClaim, release_id: int, comparison: Sequence[Mapping[str, Any]]
) -> bool:
    """The training has its release; False as in `renew`."""
    ended = {"status": JobStatus.COMPLETED, "completed_at": datetime.now(UTC), "lease_until": None}
    return _move(
        db, mine, **ended, model_release_id=release_id, comparison=[dict(row) for row in comparison]
    )


def fail(db: Database, mine: TrainingClaim, error: Exception) -> bool:
    """The training can't be done; False as in `renew`."""
    code = error.code if isinstance(error, CuemillError) else "internal"
    message = str(error) if isinstance(error, CuemillError) else f"{type(error).__name__}: {error}"
    ended = {"status": JobStatus.FAILED, "failed_at": datetime.now(UTC), "lease_until": None}
    return _move(db, mine, **ended, error_code=code, error_message=message)


def put_back(db: Database, mine: TrainingClaim) -> bool:
    """Queues a training again whose worker is told to stop; it goes on from its last epoch. False as in `renew`."""
    return _move(db, mine, status=JobStatus.QUEUED, lease_until=None, hinted_at=None)


def sweep(db: Database) -> int:
    """Queues again what nobody works on any more, or fails it when that happened too often; returns how many."""
    expired = (Training.status == JobStatus.RUNNING, Training.lease_until < now_s())
    with db.read() as connection:
        if connection.scalar(sa.select(Training.id).where(*expired).limit(1)) is None:
            return 0
    message = f"{MAX_ATTEMPTS} workers died over it; see their logs, and whether memory was short."
    with db.write() as connection:
        failed = connection.execute(
            sa.update(Training)
            .where(*expired, Training.losses + 1 >= MAX_ATTEMPTS)
            .values(
                status=JobStatus.FAILED,
                failed_at=datetime.now(UTC),
                losses=Training.losses + 1,
                error_code="worker_died",
                error_message=message,
            )
        )
        queued = connection.execute(
            sa.update(Training)
            .where(*expired)
            .values(
                status=JobStatus.QUEUED,
                losses=Training.losses + 1,
                lease_until=None,
                hinted_at=None,
            )
        )
        return int(failed.rowcount + queued.rowcount)


def waiting(db: Database) -> bool:
    """Whether a training is queued, for any worker to take."""
    with db.read() as connection:
        return (
            connection.scalar(
                sa.select(Training.id).where(Training.status == JobStatus.QUEUED).limit(1)
            )
            is not None
        )


def dispatch(db: Database, send: Send, rehint_s: float) -> int:
    """Announces queued trainings to the queue, again where a message went unanswered; returns how many."""
    due = (
        Training.status == JobStatus.QUEUED,
        sa.or_(Training.hinted_at.is_(None), Training.hinted_at < now_s() - rehint_s),
    )
    with db.read() as connection:
        if connection.scalar(sa.select(Training.id).where(*due).limit(1)) is None:
            return 0
    with db.write() as connection:
        marked = sa.update(Training).where(*due).values(hinted_at=now_s()).returning(Training.id)
        ids = sorted(connection.scalars(marked))
    for sent, training_id in enumerate(ids):
        if not send(TRAIN, training_id):
            with db.write() as connection:
                connection.execute(
                    sa.update(Training).where(Training.id.in_(ids[sent:])).values(hinted_at=None)
                )
            return sent
    return len(ids)


def _mine(mine: TrainingClaim) -> tuple[Any, ...]:
    return (
        Training.id == mine.training_id,
        Training.status == JobStatus.RUNNING,
        Training.attempt == mine.attempt,
    )


def _move(db: Database, mine: TrainingClaim, **values: Any) -> bool:
    with db.write() as connection:
        return bool(
            connection.execute(sa.update(Training).where(*_mine(mine)).values(**values)).rowcount
        )


def _view(connection: Connection, training_id: int) -> TrainingView:
    row = connection.execute(sa.select(Training).where(Training.id == training_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"No training {training_id}.")
    return _from_row(row, _epochs(connection, [training_id])[training_id])


def _epochs(connection: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Each training's epochs, in the order they were done: by candidate as the plan has them, which the view sorts."""
    found: dict[int, list[dict[str, Any]]] = {training_id: [] for training_id in ids}
    query = (
        sa.select(TrainingEpoch)
        .where(TrainingEpoch.training_id.in_(ids))
        .order_by(TrainingEpoch.epoch)
    )
    for row in connection.execute(query):
        values = dict(row._mapping)
        found[values.pop("training_id")].append(values)
    return found


def _from_row(row: Row[Any], history: list[dict[str, Any]]) -> TrainingView:
    order = list(row.plan.get("candidates", ()))
    return TrainingView(
        id=row.id,
        plan=row.plan,
        status=JobStatus(row.status),
        candidate=row.candidate,
        epochs=row.epochs,
        history=sorted(history, key=lambda epoch: order.index(epoch["candidate"])),
        comparison=row.comparison,
        model_release_id=row.model_release_id,
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        queued_at=row.queued_at,
        running_at=row.running_at,
        completed_at=row.completed_at,
        cancelled_at=row.cancelled_at,
        failed_at=row.failed_at,
    )
