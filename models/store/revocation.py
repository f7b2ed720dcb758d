"""Revocation: claims are taken from all workers, because the tables have changed under them.

A worker of the version before might record what it knows and leave out what the new tables ask for.
Its completions no longer match anything, what it had claimed is queued again, and `leases.py` gives
no claim to programs of other tables.
"""

from sqlalchemy.engine import Connection

from models.store import batches, deliveries, scans, trainings


def revoke_all(connection: Connection) -> None:
    """Queues again all that is claimed."""
    scans.requeue_claimed(connection)
    batches.requeue(connection, *batches.LEASES.claimed)
    trainings.requeue_claimed(connection)
    deliveries.requeue_claimed(connection)
