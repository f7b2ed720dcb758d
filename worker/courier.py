"""The courier: sends what webhooks are to be told, on threads of its own.

The sweep starts the threads that are needed and waits for none, so a receiver that does not answer
delays nothing else. A thread that is killed with its program leaves a lease that runs out.
"""

import json
import logging
import signal
import time
from datetime import UTC, datetime
from functools import partial
from threading import BoundedSemaphore, Thread
from typing import Final

from standardwebhooks import Webhook

from models.errors import DatabaseError
from models.settings import Settings
from models.store import deliveries
from models.store.database import Database
from models.store.deliveries import Attempt, DeliveryClaim
from models.store.jobs import expiry
from worker.lease import renew_in_background, worker_name
from worker.post import WHOLE_S, post
from worker.repeat import repeat
from worker.stop import Stop

THREADS: Final = 8
"""Of each program. There is one connection to a receiver at a time, so one thread each."""
AT_ONCE: Final = 100
"""Deliveries of a thread before it leaves the rest to the next sweep."""

_free = BoundedSemaphore(THREADS)
_log = logging.getLogger(__name__)


def run_courier(settings: Settings, db: Database) -> None:
    """Sends what is due until SIGTERM or Ctrl-C, and does nothing else."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def send_now() -> None:
        try:
            send_due(db, settings)
        except DatabaseError as error:
            _log.warning("deliveries postponed: %s", error)

    repeat(send_now, settings.sweep_s, stop, "courier")


def send_due(db: Database, settings: Settings) -> None:
    """Has the deliveries that are due sent, as far as there are threads, and returns at once."""
    while _free.acquire(blocking=False):
        try:
            claim = deliveries.claim(db, worker_name(), settings.lease_s)
            if claim is None:
                _free.release()
                return
            run = partial(_send_many, db, settings, claim)
            Thread(target=run, name="courier", daemon=True).start()
        except BaseException:
            _free.release()
            raise


def _send_many(db: Database, settings: Settings, claim: DeliveryClaim | None) -> None:
    try:
        for _ in range(AT_ONCE):
            if claim is None:
                return
            send(db, settings, claim)
            claim = deliveries.claim(db, worker_name(), settings.lease_s)
    except DatabaseError as error:
        _log.warning("deliveries postponed: %s", error)
    except Exception:
        _log.exception("deliveries failed")
    finally:
        _free.release()


def send(db: Database, settings: Settings, claim: DeliveryClaim) -> None:
    """Sends a delivery once, and records what came of it.

    Raises:
        DatabaseError: it is sent again once its lease has run out.
    """
    body = make_body(claim, settings.retention_days)
    at = datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "cuemill",
        "webhook-id": claim.message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(claim.secret).sign(claim.message, at, body),
    }

    started = time.monotonic()
    renew = partial(deliveries.renew, db, claim, settings.lease_s)
    with renew_in_background(renew, settings.lease_s, at_least_every_s=WHOLE_S):
        answer = post(claim.url, body.encode(), headers, private=settings.webhook_private)

    seconds = time.monotonic() - started
    attempt = Attempt(at, seconds, answer.status, answer.error, answer.retry_after_s)
    deliveries.record(db, claim, attempt)
    _log.info(
        "delivery=%d webhook=%d status=%s sent", claim.delivery_id, claim.webhook_id, answer.status
    )


def make_body(claim: DeliveryClaim, retention_days: int) -> str:
    """What is sent. Only the setting can tell when the job will be deleted."""
    data = claim.payload["data"]
    ended_at = datetime.fromisoformat(claim.payload["timestamp"])
    expires_at = expiry(ended_at, data["retention_days"], retention_days)
    data = {**data, "expires_at": expires_at and expires_at.isoformat().replace("+00:00", "Z")}
    return json.dumps({**claim.payload, "data": data})
