"""The training worker: takes queued trainings one at a time, and tells the database how far they have come.

With a broker it is a Celery worker on the queue `training`, else it polls the database; either way a message is only a
hint, and the lease decides. Whatever ends it, the training goes on from its last epoch.
"""

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from celery import signals

from models.errors import DatabaseError
from models.queue import TRAINING_QUEUE, make_app, sender
from models.settings import Settings
from models.store import releases, trainings
from models.store.database import Database
from models.store.trainings import TrainingClaim
from trainer.plan import Plan
from trainer.progress import Silent
from trainer.train import train
from worker.broker.program import work

POLL_S: Final = 0.5
HEARTBEAT_S: Final = 1.0

_log = logging.getLogger(__name__)


class _Dropped(BaseException):
    """Ends a training from within: it was cancelled, is another's, or the worker is to stop."""


def run_training_worker(settings: Settings, db: Database) -> None:
    """Trains what is queued until SIGTERM or Ctrl-C; what is in hand is queued again."""
    stop = threading.Event()
    if settings.broker_url:
        _run_celery(settings, db, stop)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            trainings.sweep(db)
            if not run_one(settings, db, stop):
                stop.wait(POLL_S)
        except DatabaseError as error:
            _log.warning("%s Trying again in %.0f s.", error, settings.sweep_s)
            stop.wait(settings.sweep_s)


def _run_celery(settings: Settings, db: Database, stop: threading.Event) -> None:
    app = make_app(settings.broker_url, tasks="trainer.tasks")
    send = sender(app)

    def sweep() -> bool:
        trainings.sweep(db)
        trainings.dispatch(db, send, settings.rehint_s)
        return trainings.waiting(db)

    def on_shutdown(**_: Any) -> None:
        stop.set()

    signals.worker_shutting_down.connect(on_shutdown, weak=False)
    app.conf.training = lambda training_id: run_one(settings, db, stop, training_id)
    # A thread in this very process: it sees `stop`, and no time limit of the pool's ends a training.
    options = ("--pool=threads", "--concurrency=1", f"--queues={TRAINING_QUEUE}")
    work(app, *options, sweep=sweep, settings=settings)


def run_one(
    settings: Settings,
    db: Database,
    stop: threading.Event,
    training_id: int | None = None,
) -> bool:
    """Claims this training, or the oldest one due, and works on it to its end; False when none was due.

    Raises:
        DatabaseError: the training stays claimed until its lease runs out, and is then gone on with.
    """
    claim = trainings.claim(
        db, training_id, f"{socket.gethostname()}:{os.getpid()}", settings.lease_s
    )
    if claim is None:
        return False
    folder = settings.data_dir / "trainings" / str(claim.training_id)
    with _heartbeat(settings, db, claim) as lost:
        try:
            reporter = _Reporter(db, claim, folder, stop, lost)
            outcome = train(Plan.from_plain(claim.plan), folder, progress=reporter)
            trainings.complete(db, claim, releases.register(db, outcome.path), outcome.comparison)
        except _Dropped:
            trainings.put_back(db, claim)
        except DatabaseError:
            raise
        except (
            Exception
        ) as error:  # Whatever it is, it ends this training with its reason, and no other.
            _log.warning("training=%d failed", claim.training_id, exc_info=error)
            trainings.fail(db, claim, error)
    return True


@contextmanager
def _heartbeat(settings: Settings, db: Database, claim: TrainingClaim) -> Iterator[threading.Event]:
    """Renews the lease while the block runs; the event is set when that fails for good."""
    lost, done = threading.Event(), threading.Event()

    def beat() -> None:
        while not done.wait(min(HEARTBEAT_S, settings.lease_s / 3)):
            try:
                if not trainings.renew(db, claim, settings.lease_s):
                    lost.set()
                    return
            except DatabaseError as error:
                _log.warning("heartbeat put off: %s", error)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


class _Reporter(Silent):
    """Writes epochs to the database, and drops the training between two batches when it is to end."""

    def __init__(
        self,
        db: Database,
        claim: TrainingClaim,
        folder: Path,
        stop: threading.Event,
        lost: threading.Event,
    ) -> None:
        self._db = db
        self._claim = claim
        self._folder = folder
        self._ended: tuple[Callable[[], bool], ...] = (stop.is_set, lost.is_set)
        self._candidate = ""

    def _check(self) -> None:
        if any(ended() for ended in self._ended):
            raise _Dropped

    def read(self, done: int, total: int) -> None:
        self._check()

    def candidate(self, name: str, epochs: int) -> None:
        self._candidate = name
        if not trainings.begin_candidate(self._db, self._claim, name, epochs):
            raise _Dropped
        self._record()  # Epochs that an earlier worker kept, but died before it had told.

    def batch(self, epoch: int, done: int, total: int) -> None:
        self._check()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._record()

    def _record(self) -> None:
        history = self._folder / self._candidate / "history.json"
        epochs = json.loads(history.read_text())["epochs"] if history.exists() else []
        if not trainings.record_epochs(self._db, self._claim, self._candidate, epochs):
            raise _Dropped
