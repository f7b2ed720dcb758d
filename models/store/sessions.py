"""Sessions: what a browser that has signed in holds in the place of its key.

A session is a token of 256 random bits, stored as its digest, as keys are. It allows what its key
allows now, and ends with it, when it is signed out of, or after `LIFE`.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store.database import Database, now
from models.store.leases import has_rows
from models.store.tables import Session

LIFE: Final = timedelta(hours=12)


def begin(db: Database, key_id: str) -> str:
    """Begins a session with a key that was found to be good. Its token is nowhere but here."""
    token = secrets.token_urlsafe(32)
    with db.write() as connection:
        time: datetime = connection.execute(sa.select(now())).scalar_one()
        connection.execute(
            sa.insert(Session).values(
                sha256=_digest(token), key_id=key_id, created_at=time, expires_at=time + LIFE
            )
        )
    return token


def key_of(token: str) -> sa.ScalarSelect[Any]:
    """For a query: the id of the key of a session, unless it has ended."""
    return (
        sa.select(Session.key_id)
        .where(Session.sha256 == _digest(token), Session.expires_at > now())
        .scalar_subquery()
    )


def end(db: Database, token: str) -> None:
    """Ends a session, if it has not ended already."""
    with db.write() as connection:
        connection.execute(sa.delete(Session).where(Session.sha256 == _digest(token)))


def end_all(connection: Connection, key_id: str) -> None:
    """Ends all sessions of a key, within your transaction."""
    connection.execute(sa.delete(Session).where(Session.key_id == key_id))


def delete_expired(db: Database) -> None:
    """Deletes the rows of sessions that ended by themselves."""
    expired = sa.select(Session.sha256).where(Session.expires_at <= now())
    if has_rows(db, expired):
        with db.write() as connection:
            connection.execute(sa.delete(Session).where(Session.expires_at <= now()))


def _digest(token: str) -> str:
    # A cookie may hold anything, surrogates included.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
