"""API keys: made on the command line, shown once, stored as digests, found by a public id.

A key is `cm_ID_SECRET`. The secret has 256 random bits, which nobody guesses, so a plain SHA-256
protects it. A revoked key's row stays: revoking the last key must not open the API.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Row

from models.errors import NotFoundError, UsageError
from models.store import audit, sessions
from models.store.audit import Act
from models.store.database import Database, now, upsert
from models.store.tables import ApiKey

KEY: Final = re.compile(r"cm_(?P<id>[0-9a-z]{8})_[0-9A-Za-z]{43}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ANONYMOUS: Final = "anonymous"
"""Who acts without a key; no key has this name."""
NOTED_EVERY: Final = timedelta(minutes=1)

_ID_ALPHABET: Final = string.digits + string.ascii_lowercase
_ALPHABET: Final = string.digits + string.ascii_letters
_NO_DIGEST: Final = 64 * "0"


class Scope(StrEnum):
    """What a key allows. Each includes those before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        scopes = list(Scope)
        return scopes.index(self) >= scopes.index(other)


@dataclass(frozen=True)
class Key:
    """A key as its owner may see it, without its digest.

    Args:
        requests_per_minute, live_jobs: its own limits; None = those of the settings, 0 = none.
        read_at: when this was so, on the database's clock.
    """

    id: str
    name: str
    scope: Scope
    requests_per_minute: int | None
    live_jobs: int | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    read_at: datetime = field(compare=False)

    @property
    def state(self) -> str:
        """`good`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= self.read_at:
            return "expired"
        return "good"


def create(
    db: Database,
    name: str,
    scope: Scope,
    *,
    expires_days: int | None = None,
    requests_per_minute: int | None = None,
    live_jobs: int | None = None,
) -> str:
    """Makes a key. It is nowhere but in the answer.

    Raises:
        UsageError: the name cannot be used, or a key that is not revoked has it.
    """
    if not NAME.fullmatch(name) or name == ANONYMOUS:
        raise UsageError(
            f"{name!r} cannot be a key's name. Use up to 64 letters, digits, dots, hyphens and "
            f"underscores, a letter or digit first; not {ANONYMOUS!r}."
        )

    key_id = _random(_ID_ALPHABET, 8)
    # 62 ** 43 is slightly more than 2 ** 256.
    text = f"cm_{key_id}_{_random(_ALPHABET, 43)}"

    with db.write() as connection:
        created_at: datetime = connection.execute(sa.select(now())).scalar_one()
        insert = upsert(connection, ApiKey).values(
            id=key_id,
            name=name,
            sha256=_digest(text),
            scope=scope,
            requests_per_minute=requests_per_minute,
            live_jobs=live_jobs,
            created_at=created_at,
            expires_at=created_at + timedelta(days=expires_days) if expires_days else None,
        )
        inserted = insert.on_conflict_do_nothing().returning(ApiKey.id)
        if connection.scalar(inserted) is None:
            raise UsageError(
                f"There is a key named {name!r} already. Choose another name, or revoke it first."
            )
        audit.note(connection, Act.KEY_CREATE, key_id)
    return text


def find(db: Database, text: str) -> Key | None:
    """The key with this text, whether good or not; None if there is none."""
    match = KEY.fullmatch(text)
    if match is None:
        return None

    with db.read() as connection:
        row = connection.execute(_select().where(ApiKey.id == match["id"])).one_or_none()

    # Compared even without a row, and in a time that says nothing about where they differ.
    is_same = hmac.compare_digest(row.sha256 if row else _NO_DIGEST, _digest(text))
    return _from_row(row) if row and is_same else None


def find_by_session(db: Database, token: str) -> Key | None:
    """The key that a session was begun with, whether good or not; None if the session has ended."""
    with db.read() as connection:
        query = _select().where(ApiKey.id == sessions.key_of(token))
        row = connection.execute(query).one_or_none()
    return _from_row(row) if row else None


def exist(db: Database) -> bool:
    """Whether there is any key, good or not: then the API asks for one."""
    with db.read() as connection:
        return connection.scalar(sa.select(ApiKey.id).limit(1)) is not None


def is_good(db: Database, key_id: str) -> bool:
    """Whether a key that was good before still is."""
    with db.read() as connection:
        row = connection.execute(_select().where(ApiKey.id == key_id)).one_or_none()
    return row is not None and _from_row(row).state == "good"


def list_all(db: Database) -> list[Key]:
    """All keys, revoked ones included, oldest first."""
    with db.read() as connection:
        rows = connection.execute(_select().order_by(ApiKey.created_at, ApiKey.id)).all()
    return [_from_row(row) for row in rows]


def revoke(db: Database, which: str, *, forget: bool = False) -> Key:
    """Ends a key, at once and for good. Does nothing to one that is revoked, unless to forget it.

    Args:
        which: its name, if it is not revoked, or its public id.
        forget: also delete its row. When the last one is gone, a local API needs no key.

    Raises:
        NotFoundError: no such key.
    """
    is_live = ApiKey.revoked_at.is_(None)
    with db.write() as connection:
        key_id = connection.scalar(
            sa.select(ApiKey.id)
            .where(sa.or_(ApiKey.id == which, sa.and_(ApiKey.name == which, is_live)))
            .limit(1)
        )
        if key_id is None:
            raise NotFoundError(
                f"No key {which!r}. `cuemill keys list` shows the names and ids; revoked keys have "
                "only their id."
            )

        ended = sa.update(ApiKey).where(ApiKey.id == key_id, is_live).values(revoked_at=now())
        if connection.execute(ended).rowcount:
            audit.note(connection, Act.KEY_REVOKE, key_id)
            sessions.end_all(connection, key_id)
        revoked = _from_row(connection.execute(_select().where(ApiKey.id == key_id)).one())

        if forget:
            connection.execute(sa.delete(ApiKey).where(ApiKey.id == key_id))
            audit.note(connection, Act.KEY_FORGET, key_id)
    return revoked


def note_use(db: Database, key_id: str) -> None:
    """Notes that a key is used, unless that was noted within the last minute.

    Raises:
        DatabaseError: nothing was noted; the next use is.
    """
    with db.write(synced=False) as connection:
        time: datetime = connection.execute(sa.select(now())).scalar_one()
        connection.execute(
            sa.update(ApiKey)
            .where(
                ApiKey.id == key_id,
                sa.or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= time - NOTED_EVERY),
            )
            .values(last_used_at=time)
        )


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(ApiKey, now().label("read_at"))


def _from_row(row: Row[Any]) -> Key:
    values = dict(row._mapping)
    del values["sha256"]
    return Key(**{**values, "scope": Scope(row.scope)})
