"""The sweep: periodic duties that keep work moving after something was interrupted."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from threading import Thread

from models.errors import DatabaseError
from models.settings import Settings
from models.store import (
    audit,
    cancellation,
    deletion,
    deliveries,
    heartbeats,
    recovery,
    sessions,
    trainings,
    troubles,
    uploads,
)
from models.store.database import Database
from worker.courier import send_due
from worker.lease import worker_name
from worker.repeat import repeat_in_background

_log = logging.getLogger(__name__)


def sweep(db: Database, settings: Settings) -> None:
    """Queues work again whose lease has run out, gives up what has been in trouble for too long,
    deletes some of what is past its retention, and has webhooks told what is due.

    Every worker program calls this every `settings.sweep_s`. It is safe at any time, in any number
    of processes. A duty that fails is logged and left to the next sweep; the others are still done.
    """
    duties: dict[str, Callable[[], object]] = {
        "recovery of batches": partial(recovery.requeue_expired, db),
        "recovery of trainings": partial(trainings.requeue_expired, db),
        "troubled folders": partial(cancellation.fail_troubled, db, settings.give_up_s),
        "troubled hosts": partial(troubles.give_up, db, settings.give_up_s),
        "deletion": partial(deletion.delete_due, db, settings.retention_days),
        "deletion of the audit": partial(audit.delete_due, db, settings.audit_days),
        "deletion of old sessions": partial(sessions.delete_expired, db),
        "uploads": partial(uploads.expire, db, settings.upload_expiry_h),
        "deletion of old deliveries": partial(deliveries.delete_old, db),
    }
    if settings.webhook_sender:
        duties["webhooks"] = partial(send_due, db, settings)

    done = [_try(name, duty) for name, duty in duties.items()]
    if all(done):
        _try("record of the sweep", partial(heartbeats.note_sweep, db, worker_name()))


def _try(name: str, duty: Callable[[], object]) -> bool:
    try:
        duty()
    except DatabaseError as error:
        _log.warning("%s postponed: %s", name, error)
    except Exception:
        _log.exception("%s failed", name)
    else:
        return True
    return False


def sweep_in_background(db: Database, settings: Settings) -> AbstractContextManager[Thread]:
    """Sweeps every `settings.sweep_s`, on a thread, while the block runs."""
    return repeat_in_background(partial(sweep, db, settings), settings.sweep_s, name="sweep")
