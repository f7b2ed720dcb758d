"""Webhooks: receivers of events, and their secrets, which signatures need as they are."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import NotFoundError
from models.store import audit, idempotency
from models.store.audit import Act
from models.store.database import Database, now
from models.store.states import Event
from models.store.tables import Delivery, Webhook

SECRET_BYTES: Final = 32
"""Standard Webhooks asks for 24 to 64."""


@dataclass(frozen=True)
class WebhookView:
    """A webhook as users see it, without its secret.

    Args:
        enabled: whether events are sent; not after the receiver answered 410 Gone.
    """

    id: int
    url: str
    events: list[str]
    enabled: bool
    created_at: datetime


def create(
    db: Database, url: str, events: Sequence[Event], key: str | None = None
) -> tuple[WebhookView, str]:
    """Creates a webhook. The same idempotency key with the same request returns the same one.

    Args:
        url: as `models.addresses.check_url` allows.

    Returns:
        The webhook, and the secret that its receiver checks signatures with.

    Raises:
        IdempotencyError: the key was used for another request.
    """
    chosen = [event.value for event in Event if event in events]
    request_sha256 = idempotency.digest({"url": url, "events": chosen})

    with db.write() as connection:
        webhook_id = idempotency.find_created(connection, Webhook, key, request_sha256)
        if webhook_id is None:
            webhook_id = connection.execute(
                sa.insert(Webhook)
                .values(
                    url=url,
                    secret=f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}",
                    events=chosen,
                    enabled=True,
                    created_at=now(),
                    idempotency_key=key,
                    request_sha256=request_sha256,
                )
                .returning(Webhook.id)
            ).scalar_one()
            audit.note(connection, Act.WEBHOOK_CREATE, webhook_id)

        query = sa.select(Webhook.__table__).where(Webhook.id == webhook_id)
        row = connection.execute(query).one()
        return _from_row(row), row.secret


def get(db: Database, webhook_id: int) -> WebhookView:
    """
    Raises:
        NotFoundError: no such webhook.
    """
    with db.read() as connection:
        row = connection.execute(
            sa.select(Webhook.__table__).where(Webhook.id == webhook_id)
        ).one_or_none()
    if row is None:
        raise NotFoundError(f"No webhook {webhook_id}.")
    return _from_row(row)


def list_newest(db: Database, *, limit: int = 50, before: int | None = None) -> list[WebhookView]:
    """Webhooks, newest first.

    Args:
        before: only webhooks with a smaller id.
    """
    query = sa.select(Webhook.__table__).order_by(Webhook.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Webhook.id < before)
    with db.read() as connection:
        return [_from_row(row) for row in connection.execute(query)]


def delete(db: Database, webhook_id: int) -> None:
    """Deletes a webhook and its deliveries, also those that are pending.

    Raises:
        NotFoundError: no such webhook.
    """
    with db.write() as connection:
        # Locked first, so that no job that ends at this moment adds a delivery to it.
        found = sa.select(Webhook.id).where(Webhook.id == webhook_id).with_for_update()
        if connection.scalar(found) is None:
            raise NotFoundError(f"No webhook {webhook_id}.")
        connection.execute(sa.delete(Delivery).where(Delivery.webhook_id == webhook_id))
        connection.execute(sa.delete(Webhook).where(Webhook.id == webhook_id))
        audit.note(connection, Act.WEBHOOK_DELETE, webhook_id)


def lock_listeners(connection: Connection, event: Event) -> list[int]:
    """The ids of the webhooks that want this event; none of them is deleted meanwhile."""
    query = sa.select(Webhook.id, Webhook.events).where(Webhook.enabled).order_by(Webhook.id)
    rows = connection.execute(query.with_for_update(read=True, key_share=True)).all()
    return [row.id for row in rows if event in row.events]


def disable(connection: Connection, webhook_id: int) -> None:
    """Sends nothing more to a webhook."""
    connection.execute(sa.update(Webhook).where(Webhook.id == webhook_id).values(enabled=False))


def _from_row(row: Row[Any]) -> WebhookView:
    return WebhookView(row.id, row.url, row.events, row.enabled, row.created_at)
