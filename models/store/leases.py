"""Leases: how workers claim scans, batches, trainings and deliveries.

A claim sets when its lease expires, on the database's clock, and a nonce: a random number, new for
each claim. The nonce is the fencing token: a worker that lost its lease and wakes up later still
holds the old one, so none of its writes matches a row. A count could not serve, because a backup
that is restored counts from where it was: the same attempt of the same id may then be another job's
work. `attempt` only counts the claims.

A lease that ends later than any could was set before that clock stepped back. It counts as expired,
or the work would wait until the clock has caught up.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.orm import InstrumentedAttribute

from models.settings import MAX_LEASE_S
from models.store.database import Database, now_s
from models.store.tables import REVISION, Batch, Delivery, Job, Training

NONCE_BITS: Final = 63
"""What a column of 64 bits, with a sign, holds."""
LATEST_S: Final = 2 * MAX_LEASE_S
"""No lease ends later from now; twice the longest, as clocks are also corrected by seconds."""

_TABLES_ARE_KNOWN: Final = sa.text(
    "EXISTS (SELECT 1 FROM alembic_version WHERE version_num = :known)"
).bindparams(known=REVISION)
"""Whether this program knows how to write results into the tables as they are now."""

Conditions = tuple[sa.ColumnElement[bool], ...]


@dataclass(frozen=True)
class Leases:
    """The leases on the rows of one table.

    Args:
        due: what holds for a row that a worker may claim.
        claimed: what holds for a row while its claim is valid.
        attempt, nonce, until, worker: the columns that hold the claim.
    """

    table: type[Job] | type[Batch] | type[Training] | type[Delivery]
    due: Conditions
    claimed: Conditions
    attempt: InstrumentedAttribute[int]
    nonce: InstrumentedAttribute[int | None]
    until: InstrumentedAttribute[float | None]
    worker: InstrumentedAttribute[str | None]

    @property
    def expired(self) -> Conditions:
        """What holds for a claimed row whose worker has not renewed its lease in time."""
        return (*self.claimed, is_over(self.until))

    def oldest_due(self, *conditions: sa.ColumnElement[bool]) -> sa.Select[int]:
        """The id of the oldest row that is due and meets the conditions."""
        return (
            sa.select(self.table.id).where(*self.due, *conditions).order_by(self.table.id).limit(1)
        )

    def claim(
        self,
        connection: Connection,
        target: int | sa.Select[int],
        worker: str,
        lease_s: float,
        *,
        returning: Sequence[InstrumentedAttribute[Any]],
        **values: Any,
    ) -> Row[*tuple[Any, ...]] | None:
        """Claims a row, or returns None if it is no longer due, or this program is outdated.

        Args:
            target: an id, or `oldest_due`, which skips rows that another transaction has locked.
            values: further columns to set.
        """
        if isinstance(target, sa.Select):
            is_target = self.table.id == target.with_for_update(skip_locked=True).scalar_subquery()
        else:
            is_target = self.table.id == target

        lease = {
            self.attempt: self.attempt + 1,
            self.nonce: secrets.randbits(NONCE_BITS),
            self.until: now_s() + lease_s,
            self.worker: worker,
        }
        return connection.execute(
            sa.update(self.table)
            .where(is_target, *self.due, _TABLES_ARE_KNOWN)
            .values({**lease, **values})
            .returning(*returning)
        ).one_or_none()

    def update(
        self,
        connection: Connection,
        row_id: int,
        nonce: int,
        /,
        *conditions: sa.ColumnElement[bool],
        **values: Any,
    ) -> bool:
        """Changes a claimed row. If the claim is lost, this matches no row and returns False."""
        result = connection.execute(
            sa.update(self.table).where(*self._is_held(row_id, nonce), *conditions).values(**values)
        )
        return bool(result.rowcount)

    def lock(
        self, connection: Connection, row_id: int, nonce: int, *conditions: sa.ColumnElement[bool]
    ) -> bool:
        """Keeps a claim valid until your transaction ends. Returns False if it is lost."""
        query = sa.select(self.table.id).where(*self._is_held(row_id, nonce), *conditions)
        return connection.scalar(query.with_for_update()) is not None

    def renew(
        self,
        connection: Connection,
        row_id: int,
        nonce: int,
        *conditions: sa.ColumnElement[bool],
        lease_s: float,
    ) -> bool:
        """Extends a lease. Returns False if the claim is lost."""
        lease = {self.until.key: now_s() + lease_s}
        return self.update(connection, row_id, nonce, *conditions, **lease)

    def _is_held(self, row_id: int, nonce: int) -> Conditions:
        return (self.table.id == row_id, self.nonce == nonce, *self.claimed)


def is_over(until: InstrumentedAttribute[float | None]) -> sa.ColumnElement[bool]:
    """Whether a lease has expired. One that is None has not: there is none."""
    return sa.or_(until < now_s(), until > now_s() + LATEST_S)


def has_rows(db: Database, query: sa.Select[Any]) -> bool:
    """Whether a query finds a row. Idle workers ask this often, without taking a write lock."""
    with db.read() as connection:
        return connection.scalar(query) is not None
