"""Trainings: submitted, claimed under a lease, recorded epoch by epoch, ended once.

`states.py` draws the moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import CuemillError, NotFoundError
from models.store import audit, idempotency
from models.store.audit import Act
from models.store.database import Database, now, now_s, upsert
from models.store.leases import Leases, has_rows
from models.store.states import LIVE, MAX_ATTEMPTS, JobStatus
from models.store.tables import Training, TrainingEpoch

CANDIDATES: Final = (
    "model1",
    "model2",
    "model3",
    "model4",
    "model5",
    "model3_long",
    "mobilenetv2",
    "cuemill1",
    "cuemill1_tune",
    "cuemill1_robust",
)
"""The names in `trainer/candidates.py`, for the API, which must not import the trainer.

A test keeps the two equal.
"""

LEASES: Final = Leases(
    Training,
    due=(Training.status == JobStatus.QUEUED,),
    claimed=(Training.status == JobStatus.RUNNING,),
    attempt=Training.attempt,
    nonce=Training.nonce,
    until=Training.lease_until,
    worker=Training.worker,
)


@dataclass(frozen=True)
class TrainingView:
    """A training as users see it.

    Args:
        plan: the candidates and their data, as `trainer.plan.Plan` describes them.
        candidate, epochs: the candidate being fitted, and the most epochs it takes.
        history: for each finished epoch, in order: candidate, epoch, loss, accuracy, val_loss,
            val_accuracy, seconds.
        comparison: once completed, a row for each candidate.
        model_release_id: once completed, the release of the best candidate.
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
    """The right to work on a training until the lease expires."""

    training_id: int
    attempt: int
    nonce: int
    plan: dict[str, Any]


def submit(db: Database, plan: Mapping[str, Any], key: str | None = None) -> TrainingView:
    """Queues a training. The same idempotency key with the same plan returns the same training.

    Raises:
        IdempotencyError: the key was used for another plan.
    """
    plan_sha256 = idempotency.digest(plan)

    with db.write() as connection:
        earlier = idempotency.find_created(connection, Training, key, plan_sha256)
        if earlier is not None:
            return _view(connection, earlier)

        training_id = connection.execute(
            sa.insert(Training)
            .values(
                plan=dict(plan),
                status=JobStatus.QUEUED,
                queued_at=now(),
                attempt=0,
                losses=0,
                idempotency_key=key,
                request_sha256=plan_sha256,
            )
            .returning(Training.id)
        ).scalar_one()
        audit.note(connection, Act.TRAINING_SUBMIT, training_id)
        return _view(connection, training_id)


def get(db: Database, training_id: int) -> TrainingView:
    """
    Raises:
        NotFoundError: no such training.
    """
    with db.read() as connection:
        return _view(connection, training_id)


def list_newest(db: Database, limit: int = 50, before: int | None = None) -> list[TrainingView]:
    """Trainings, newest first.

    Args:
        before: only trainings with a smaller id.
    """
    query = sa.select(Training).order_by(Training.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Training.id < before)

    with db.read() as connection:
        rows = connection.execute(query).all()
        epochs = _epochs(connection, [row.id for row in rows])
    return [_from_row(row, epochs[row.id]) for row in rows]


def cancel(db: Database, training_id: int) -> TrainingView:
    """Cancels a training, which its worker notices within seconds; does nothing if it has ended.

    Raises:
        NotFoundError: no such training.
    """
    with db.write() as connection:
        cancelled = connection.execute(
            sa.update(Training)
            .where(Training.id == training_id, Training.status.in_(LIVE))
            .values(status=JobStatus.CANCELLED, cancelled_at=now(), lease_until=None)
        )
        if cancelled.rowcount:
            audit.note(connection, Act.TRAINING_CANCEL, training_id)
        return _view(connection, training_id)


def claim(
    db: Database, training_id: int | None, worker: str, lease_s: float
) -> TrainingClaim | None:
    """Claims this training, or the oldest queued one; None if there is none."""
    if training_id is None:
        target = LEASES.oldest_due()
    else:
        target = LEASES.oldest_due(Training.id == training_id)
    if not has_rows(db, target):
        return None

    with db.write() as connection:
        training = LEASES.claim(
            connection,
            target,
            worker,
            lease_s,
            status=JobStatus.RUNNING,
            running_at=sa.func.coalesce(Training.running_at, now()),
            returning=[Training.id, Training.attempt, Training.nonce, Training.plan],
        )
    return TrainingClaim(*training) if training else None


# The functions below change a claimed training. They return False if the claim is lost, because the
# training was cancelled or another worker has it; the worker should then stop.


def renew(db: Database, claim: TrainingClaim, lease_s: float) -> bool:
    """Extends the lease."""
    return _update(db, claim, lease_until=now_s() + lease_s)


def begin_candidate(db: Database, claim: TrainingClaim, candidate: str, epochs: int) -> bool:
    """Records which candidate is being fitted."""
    return _update(db, claim, candidate=candidate, epochs=epochs)


def record_epochs(
    db: Database, claim: TrainingClaim, candidate: str, history: Sequence[Mapping[str, float]]
) -> bool:
    """Records those of a candidate's epochs that are not yet recorded."""
    rows = [
        {"training_id": claim.training_id, "candidate": candidate, "epoch": number, **metrics}
        for number, metrics in enumerate(history, 1)
    ]
    with db.write() as connection:
        is_claimed = LEASES.lock(connection, claim.training_id, claim.nonce)
        if is_claimed and rows:
            connection.execute(upsert(connection, TrainingEpoch).on_conflict_do_nothing(), rows)
        return is_claimed


def complete(
    db: Database, claim: TrainingClaim, release_id: int, comparison: Sequence[Mapping[str, Any]]
) -> bool:
    """Completes a training that has its release."""
    return _update(
        db,
        claim,
        status=JobStatus.COMPLETED,
        completed_at=now(),
        lease_until=None,
        model_release_id=release_id,
        comparison=[dict(row) for row in comparison],
    )


def fail(db: Database, claim: TrainingClaim, error: Exception) -> bool:
    """Ends a training that cannot be completed, with the reason."""
    if isinstance(error, CuemillError):
        code, message = error.code, str(error)
    else:
        code, message = "internal", f"{type(error).__name__}: {error}"
    return _update(
        db,
        claim,
        status=JobStatus.FAILED,
        failed_at=now(),
        lease_until=None,
        error_code=code,
        error_message=message,
    )


def put_back(db: Database, claim: TrainingClaim) -> bool:
    """Queues a training again as its worker stops; the next resumes after the last epoch."""
    return _update(db, claim, status=JobStatus.QUEUED, lease_until=None, hinted_at=None)


def _update(db: Database, claim: TrainingClaim, **values: Any) -> bool:
    with db.write() as connection:
        return LEASES.update(connection, claim.training_id, claim.nonce, **values)


def requeue_expired(db: Database) -> int:
    """Queues trainings with an expired lease again; fails those that lost too many workers.

    Safe at any time, in any number of processes.

    Returns:
        How many trainings were affected.
    """
    if not has_rows(db, sa.select(Training.id).where(*LEASES.expired).limit(1)):
        return 0

    message = (
        f"{MAX_ATTEMPTS} workers died during this training. "
        "See their logs; they may have run out of memory."
    )
    with db.write() as connection:
        failed = connection.execute(
            sa.update(Training)
            .where(*LEASES.expired, Training.losses + 1 >= MAX_ATTEMPTS)
            .values(
                status=JobStatus.FAILED,
                failed_at=now(),
                losses=Training.losses + 1,
                error_code="worker_died",
                error_message=message,
            )
        )
        queued = connection.execute(
            sa.update(Training)
            .where(*LEASES.expired)
            .values(
                status=JobStatus.QUEUED,
                losses=Training.losses + 1,
                lease_until=None,
                hinted_at=None,
            )
        )
        return failed.rowcount + queued.rowcount


def requeue_claimed(connection: Connection) -> None:
    """Queues all trainings that are claimed again; their workers lose them."""
    connection.execute(
        sa.update(Training)
        .where(*LEASES.claimed)
        .values(status=JobStatus.QUEUED, lease_until=None, hinted_at=None)
    )


def _view(connection: Connection, training_id: int) -> TrainingView:
    row = connection.execute(sa.select(Training).where(Training.id == training_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"No training {training_id}.")
    return _from_row(row, _epochs(connection, [training_id])[training_id])


def _epochs(connection: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The epochs of each training, by number."""
    query = (
        sa.select(TrainingEpoch)
        .where(TrainingEpoch.training_id.in_(ids))
        .order_by(TrainingEpoch.epoch)
    )
    epochs: dict[int, list[dict[str, Any]]] = {training_id: [] for training_id in ids}
    for row in connection.execute(query):
        values = dict(row._mapping)
        epochs[values.pop("training_id")].append(values)
    return epochs


def _from_row(row: Row[Any], history: list[dict[str, Any]]) -> TrainingView:
    candidates = list(row.plan.get("candidates", ()))
    return TrainingView(
        id=row.id,
        plan=row.plan,
        status=JobStatus(row.status),
        candidate=row.candidate,
        epochs=row.epochs,
        history=sorted(history, key=lambda epoch: candidates.index(epoch["candidate"])),
        comparison=row.comparison,
        model_release_id=row.model_release_id,
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        queued_at=row.queued_at,
        running_at=row.running_at,
        completed_at=row.completed_at,
        cancelled_at=row.cancelled_at,
        failed_at=row.failed_at,
    )
