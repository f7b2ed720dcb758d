"""Deliveries: the outbox of webhooks. A row is written in the transaction that ends a job.

So none is lost, and none is about what did not happen. A program claims a delivery with a lease,
sends it with no transaction open, and records what came of it. If it dies in between, another
program sends it again: a receiver is told at least once.
"""

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.orm import aliased

from models.errors import NotFoundError, UsageError
from models.store import audit, clocks, webhooks
from models.store.audit import Act
from models.store.database import Database, now, now_s
from models.store.leases import LATEST_S, Leases, has_rows, is_over
from models.store.states import DeliveryState, Event
from models.store.tables import Delivery, Job, Webhook

_MINUTE, _HOUR = 60.0, 3600.0
SCHEDULE_S: Final = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
)
"""Pauses after each failed attempt, as Standard Webhooks has them: three days in all."""
JITTER: Final = 0.1
LONGEST_PAUSE_S: Final = (1 + JITTER) * SCHEDULE_S[-1]
LOG_MAX: Final = 20
"""The latest attempts are kept: more than one schedule has."""
KEPT_DAYS: Final = 30
DELETE_STEP: Final = 1_000

_other = aliased(Delivery)

LEASES: Final = Leases(
    Delivery,
    due=(
        Delivery.state == DeliveryState.PENDING,
        # One that is later than any pause was set before the clock stepped back.
        sa.or_(Delivery.not_before <= now_s(), Delivery.not_before > now_s() + LONGEST_PAUSE_S),
        sa.or_(Delivery.lease_until.is_(None), is_over(Delivery.lease_until)),
        sa.exists().where(Webhook.id == Delivery.webhook_id, Webhook.enabled),
        # One at a time for each webhook, so that a slow receiver delays no other.
        ~sa.exists().where(
            _other.webhook_id == Delivery.webhook_id,
            _other.lease_until.is_not(None),
            _other.lease_until.between(now_s(), now_s() + LATEST_S),
        ),
    ),
    claimed=(Delivery.state == DeliveryState.PENDING, Delivery.lease_until.is_not(None)),
    attempt=Delivery.attempt,
    nonce=Delivery.nonce,
    until=Delivery.lease_until,
    worker=Delivery.worker,
)


@dataclass(frozen=True)
class DeliveryClaim:
    """The right to send a delivery until the lease expires."""

    delivery_id: int
    nonce: int
    webhook_id: int
    message: str
    payload: dict[str, Any]
    tries: int
    log: list[dict[str, Any]]
    url: str
    secret: str


@dataclass(frozen=True)
class Attempt:
    """What came of sending a delivery.

    Args:
        at: when it began, on the host's clock.
        status: of HTTP; None if there was no answer.
        error: why there was none.
        retry_after_s: what the receiver asked for.
    """

    at: datetime
    seconds: float
    status: int | None
    error: str | None = None
    retry_after_s: float = 0.0

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def says_gone(self) -> bool:
        return self.status == 410


@dataclass(frozen=True)
class DeliveryView:
    """A delivery as users see it.

    Args:
        attempts: the latest, oldest first.
        next_attempt_at: None if it is not pending.
    """

    id: int
    webhook_id: int
    job_id: int
    message: str
    event: Event
    state: DeliveryState
    created_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None
    attempts: list[dict[str, Any]]


def add(connection: Connection, event: Event, job_id: int, payload: Mapping[str, Any]) -> None:
    """Has every webhook that wants this event told of it."""
    message = f"msg_{secrets.token_hex(16)}"
    rows = [
        {
            "webhook_id": webhook_id,
            "job_id": job_id,
            "message": message,
            "event": event.value,
            "payload": dict(payload),
            "state": DeliveryState.PENDING.value,
        }
        for webhook_id in webhooks.lock_listeners(connection, event)
    ]
    if rows:
        connection.execute(sa.insert(Delivery).values(created_at=now(), not_before=now_s()), rows)


def claim(db: Database, worker: str, lease_s: float) -> DeliveryClaim | None:
    """Claims the oldest delivery that is due, or returns None if there is none."""
    oldest = LEASES.oldest_due()
    if not has_rows(db, oldest):
        return None

    columns = (
        Delivery.id,
        Delivery.nonce,
        Delivery.webhook_id,
        Delivery.message,
        Delivery.payload,
        Delivery.tries,
        Delivery.log,
    )
    with db.write(synced=False) as connection:
        row = LEASES.claim(connection, oldest, worker, lease_s, returning=columns)
        if row is None:
            return None
        receiver = connection.execute(
            sa.select(Webhook.url, Webhook.secret).where(Webhook.id == row.webhook_id)
        ).one()
        return DeliveryClaim(*(*row, *receiver))


def renew(db: Database, claim: DeliveryClaim, lease_s: float) -> bool:
    """Extends the lease; False if the claim is lost."""
    with db.write(synced=False) as connection:
        return LEASES.renew(connection, claim.delivery_id, claim.nonce, lease_s=lease_s)


def requeue_claimed(connection: Connection) -> None:
    """Makes all deliveries that are claimed claimable at once; their programs lose them."""
    connection.execute(sa.update(Delivery).where(*LEASES.claimed).values(lease_until=None))


def record(db: Database, claim: DeliveryClaim, attempt: Attempt) -> None:
    """Logs an attempt and what follows from it: the end, or another try later.

    If the claim is lost, nothing is logged, as another program sends the delivery.
    """
    entry = {
        "at": attempt.at.isoformat(),
        "status": attempt.status,
        "error": attempt.error,
        "seconds": round(attempt.seconds, 3),
    }
    values: dict[str, Any] = {
        "lease_until": None,
        "tries": claim.tries + 1,
        "log": [*claim.log, entry][-LOG_MAX:],
    }
    if attempt.succeeded:
        values |= {"state": DeliveryState.DELIVERED, "ended_at": now()}
    elif attempt.says_gone or claim.tries >= len(SCHEDULE_S):
        values |= {"state": DeliveryState.FAILED, "ended_at": now()}
    else:
        values["not_before"] = now_s() + _pause_s(claim.tries, attempt.retry_after_s)

    with db.write() as connection:
        if attempt.says_gone:
            # The webhook before its deliveries, as whoever deletes it: they could deadlock.
            webhooks.disable(connection, claim.webhook_id)
        LEASES.update(connection, claim.delivery_id, claim.nonce, **values)
        if attempt.says_gone:
            _end_pending(connection, claim.webhook_id)

        # What is left of a job that was deleted meanwhile has now been sent.
        connection.execute(
            sa.delete(Delivery).where(
                Delivery.id == claim.delivery_id,
                Delivery.state != DeliveryState.PENDING,
                ~sa.exists().where(Job.id == Delivery.job_id),
            )
        )


def _pause_s(tries: int, retry_after_s: float) -> float:
    # Jitter: what failed together is not tried again together.
    pause_s = SCHEDULE_S[tries] * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311
    return max(pause_s, min(retry_after_s, SCHEDULE_S[-1]))


def _end_pending(connection: Connection, webhook_id: int) -> None:
    connection.execute(
        sa.update(Delivery)
        .where(Delivery.webhook_id == webhook_id, Delivery.state == DeliveryState.PENDING)
        .values(state=DeliveryState.FAILED, ended_at=now(), lease_until=None)
    )


def list_newest(
    db: Database, webhook_id: int, *, limit: int = 50, before: int | None = None
) -> list[DeliveryView]:
    """The deliveries of a webhook, newest first.

    Args:
        before: only deliveries with a smaller id.

    Raises:
        NotFoundError: no such webhook.
    """
    webhooks.get(db, webhook_id)
    query = (
        _select().where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(limit)
    )
    if before is not None:
        query = query.where(Delivery.id < before)
    with db.read() as connection:
        return [_from_row(row) for row in connection.execute(query)]


def replay(db: Database, delivery_id: int) -> DeliveryView:
    """Sends a delivery again, with its own message id, or at once if it is pending.

    Raises:
        NotFoundError: no such delivery.
        UsageError: its webhook is disabled.
    """
    with db.write() as connection:
        enabled = connection.scalar(
            sa.select(Webhook.enabled)
            .join(Delivery, Delivery.webhook_id == Webhook.id)
            .where(Delivery.id == delivery_id)
        )
        if enabled is None:
            raise NotFoundError(f"No delivery {delivery_id}.")
        if not enabled:
            raise UsageError(
                f"The webhook of delivery {delivery_id} is disabled, because its receiver answered "
                "410 Gone. Create another webhook."
            )
        connection.execute(
            sa.update(Delivery)
            .where(Delivery.id == delivery_id)
            .values(state=DeliveryState.PENDING, ended_at=None, tries=0, not_before=now_s())
        )
        audit.note(connection, Act.DELIVERY_REPLAY, delivery_id)
        return _from_row(connection.execute(_select().where(Delivery.id == delivery_id)).one())


def delete_ended(connection: Connection, job_id: int) -> int:
    """Deletes what has been sent about a job; the rest is deleted once it has been."""
    ended = Delivery.state != DeliveryState.PENDING
    return connection.execute(sa.delete(Delivery).where(Delivery.job_id == job_id, ended)).rowcount


def delete_old(db: Database) -> None:
    """Deletes some of the deliveries that ended `KEPT_DAYS` ago."""
    clock = clocks.read(db)
    if not clock.is_trusted:
        return
    old = (
        sa.select(Delivery.id)
        .where(Delivery.ended_at < clock.now - timedelta(days=KEPT_DAYS))
        .limit(DELETE_STEP)
    )
    if has_rows(db, old):
        with db.write() as connection:
            connection.execute(sa.delete(Delivery).where(Delivery.id.in_(old)))


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        Delivery.id,
        Delivery.webhook_id,
        Delivery.job_id,
        Delivery.message,
        Delivery.event,
        Delivery.state,
        Delivery.created_at,
        Delivery.ended_at,
        Delivery.not_before,
        Delivery.log,
    )


def _from_row(row: Row[Any]) -> DeliveryView:
    state = DeliveryState(row.state)
    is_pending = state is DeliveryState.PENDING
    return DeliveryView(
        id=row.id,
        webhook_id=row.webhook_id,
        job_id=row.job_id,
        message=row.message,
        event=Event(row.event),
        state=state,
        created_at=row.created_at,
        ended_at=row.ended_at,
        next_attempt_at=datetime.fromtimestamp(row.not_before, UTC) if is_pending else None,
        attempts=row.log,
    )
