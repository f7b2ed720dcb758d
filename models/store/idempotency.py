"""Idempotency keys: the first request with a key creates a row, and the same request finds it.

A table whose rows are created by requests is `Keyed`. In the transaction that inserts a row, call
`find_created` first, and insert only if it returns None, with both columns of `Keyed`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import IdempotencyError
from models.store.tables import Keyed


def digest(request: Mapping[str, Any]) -> str:
    """Of everything that makes two requests different ones."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def find_created(
    connection: Connection, table: type[Keyed], key: str | None, request_sha256: str
) -> Any:
    """The id of the row that the same request has created earlier; None if there is none.

    Args:
        key: None = the request has no key, and creates a row each time.

    Raises:
        IdempotencyError: the key was used for another request.
    """
    if key is None:
        return None

    if connection.dialect.name == "postgresql":
        # Of two requests with one key at the same moment, the second waits for the first.
        lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0))
        connection.execute(sa.select(lock))

    query = sa.select(table.id, table.request_sha256).where(table.idempotency_key == key)
    earlier = connection.execute(query).one_or_none()
    if earlier is None:
        return None

    if earlier.request_sha256 != request_sha256:
        raise IdempotencyError(
            f"The idempotency key {key!r} was used for another request. Use a new key."
        )
    return earlier.id
