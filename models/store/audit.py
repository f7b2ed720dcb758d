"""The audit: who submitted, cancelled, retried, deleted, promoted, and made keys and webhooks.

Who acts is set once, where a program or a request begins (`act_as`), and noted by each act in its
own transaction (`note`): an act without its row, or a row without its act, cannot be committed.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store import clocks
from models.store.database import Database, now
from models.store.leases import has_rows
from models.store.tables import AuditEntry

DELETE_STEP: Final = 5_000


class Act(StrEnum):
    JOB_SUBMIT = "job.submit"
    JOB_CANCEL = "job.cancel"
    JOB_RETRY = "job.retry"
    JOB_DELETE = "job.delete"
    TRAINING_SUBMIT = "training.submit"
    TRAINING_CANCEL = "training.cancel"
    MODEL_PROMOTE = "model.promote"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    KEY_FORGET = "key.forget"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_DELETE = "webhook.delete"
    DELIVERY_REPLAY = "delivery.replay"


@dataclass(frozen=True)
class Actor:
    """Whoever acts.

    Args:
        name: `cli:USER` on the command line; over HTTP a key's name, or `anonymous`.
        key_id: the API key's, if there is one.
        live_jobs: how many unfinished jobs that key may have; 0 = any number.
    """

    name: str
    key_id: str | None = None
    live_jobs: int = 0


@dataclass(frozen=True)
class Entry:
    id: int
    at: datetime
    actor: str
    key_id: str | None
    act: Act
    target: str


_SYSTEM: Final = Actor("system")
_actor: ContextVar[Actor] = ContextVar("actor", default=_SYSTEM)


def act_as(actor: Actor) -> None:
    """Sets who acts from here on, in this context: a program, or one request."""
    _actor.set(actor)


def actor() -> Actor:
    return _actor.get()


def note(connection: Connection, act: Act, target: int | str) -> None:
    """Notes an act within your transaction.

    Args:
        target: the id of what it was done to. Nothing about its content: rows outlive the target.
    """
    who = actor()
    connection.execute(
        sa.insert(AuditEntry).values(
            at=now(), actor=who.name, key_id=who.key_id, act=act, target=str(target)
        )
    )


def list_newest(db: Database, limit: int = 50, before: int | None = None) -> list[Entry]:
    """Entries, newest first.

    Args:
        before: only entries with a smaller id.
    """
    query = sa.select(AuditEntry.__table__).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.id < before)

    with db.read() as connection:
        return [
            Entry(row.id, row.at, row.actor, row.key_id, Act(row.act), row.target)
            for row in connection.execute(query)
        ]


def delete_due(db: Database, days: int) -> int:
    """Deletes entries older than this, a limited number a call; 0 days = keep them forever.

    Returns:
        How many were deleted.
    """
    if not days:
        return 0

    # As for jobs (`deletion.py`): a clock that nobody trusts deletes nothing.
    clock = clocks.read(db)
    due = (
        sa.select(AuditEntry.id)
        .where(AuditEntry.at < clock.now - timedelta(days=days))
        .order_by(AuditEntry.at)
        .limit(DELETE_STEP)
    )
    if not clock.is_trusted or not has_rows(db, due):
        return 0

    with db.write() as connection:
        return connection.execute(sa.delete(AuditEntry).where(AuditEntry.id.in_(due))).rowcount
