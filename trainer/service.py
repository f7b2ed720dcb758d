"""The training worker: runs queued trainings one at a time, and records each epoch in the database.

With a broker it is a Celery worker on the queue `training`; without one it polls the database.
Either way a message is only a hint and the lease decides. However a training is interrupted, the
next worker resumes it after its last epoch.
"""

import hashlib
import json
import logging
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from models.atomic import make_private
from models.errors import DatabaseError
from models.logs import about
from models.queue import TRAINING_QUEUE, make_sender
from models.settings import Settings
from models.store import hints, releases, trainings
from models.store.database import Database
from models.store.trainings import TrainingClaim
from trainer.plan import Plan
from trainer.progress import Silent
from trainer.tasks import add_task
from trainer.train import train
from worker.broker.app import make_worker_app
from worker.broker.program import CeleryWorker
from worker.lease import renew_in_background, worker_name
from worker.stop import Stop
from worker.sweep import sweep, sweep_in_background

POLL_S: Final = 0.5
RENEW_S: Final = 1.0
"""A training renews its lease at least this often, to notice a cancellation within a second."""

DIGEST_LENGTH: Final = 12

_log = logging.getLogger(__name__)


class _StopTraining(BaseException):
    """Ends a training from a progress report; no `Exception`, so that nothing else catches it."""


class TrainingWorker:
    """Runs trainings one at a time.

    Args:
        stop: set when the program is asked to stop; the training in progress is then queued again.
    """

    def __init__(self, settings: Settings, db: Database, stop: Stop) -> None:
        self._settings = settings
        self._db = db
        self._stop = stop

    def run(self, training_id: int | None = None) -> bool:
        """Claims and runs this training, or the oldest one queued; False if there is none.

        Raises:
            DatabaseError: the training stays claimed until its lease runs out, and then resumes.
        """
        claim = trainings.claim(self._db, training_id, worker_name(), self._settings.lease_s)
        if claim is None:
            return False

        with about(training=claim.training_id):
            self._run(claim)
        return True

    def _run(self, claim: TrainingClaim) -> None:
        try:
            self._train(claim)
        except _StopTraining:
            trainings.put_back(self._db, claim)
        except DatabaseError:
            raise
        except Exception as error:
            # Whatever the error is, it ends this training, with its reason, and not the worker.
            _log.warning("The training failed.", exc_info=error)
            trainings.fail(self._db, claim, error)

    def _train(self, claim: TrainingClaim) -> None:
        lease_s = self._settings.lease_s
        make_private(self._settings.data_folder)
        folder = choose_folder(self._settings.data_folder, claim)
        renew = partial(trainings.renew, self._db, claim, lease_s)

        with renew_in_background(renew, lease_s, at_least_every_s=RENEW_S) as lost:
            reporter = _Reporter(self._db, claim, folder, stop_when_set=[self._stop, lost])
            result = train(Plan.from_plain(claim.plan), folder, progress=reporter)

            release_id = releases.register(self._db, result.path)
            trainings.complete(self._db, claim, release_id, result.comparison)


def choose_folder(data_folder: Path, claim: TrainingClaim) -> Path:
    """Where a training keeps its epochs, to resume after the last one.

    The plan is part of the name: in a restored backup, the id may be that of another training.
    """
    plan = json.dumps(claim.plan, sort_keys=True).encode()
    digest = hashlib.sha256(plan).hexdigest()[:DIGEST_LENGTH]
    return data_folder / "trainings" / f"{claim.training_id}-{digest}"


class _Reporter(Silent):
    """Records epochs, and ends the training if its worker must stop or has lost the claim."""

    def __init__(
        self,
        db: Database,
        claim: TrainingClaim,
        folder: Path,
        stop_when_set: Sequence[Event | Stop],
    ) -> None:
        self._db = db
        self._claim = claim
        self._folder = folder
        self._stop_when_set = stop_when_set
        self._candidate = ""

    def read(self, done: int, total: int) -> None:
        self._stop_if_asked()

    def warning(self, text: str) -> None:
        _log.warning("%s", text)

    def candidate(self, name: str, epochs: int) -> None:
        self._candidate = name
        if not trainings.begin_candidate(self._db, self._claim, name, epochs):
            raise _StopTraining

        # A worker that died may have saved epochs that it did not record.
        self._record()

    def batch(self, epoch: int, done: int, total: int) -> None:
        self._stop_if_asked()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._record()

    def _stop_if_asked(self) -> None:
        if any(event.is_set() for event in self._stop_when_set):
            raise _StopTraining

    def _record(self) -> None:
        history = self._folder / self._candidate / "history.json"
        epochs = json.loads(history.read_text())["epochs"] if history.exists() else []
        if not trainings.record_epochs(self._db, self._claim, self._candidate, epochs):
            raise _StopTraining


def run_training_worker(settings: Settings, db: Database) -> None:
    """Runs queued trainings until SIGTERM or Ctrl-C; the one in progress is then queued again."""
    if settings.broker_url:
        _run_with_broker(settings, db)
    else:
        _run_polling(settings, db)


def _run_polling(settings: Settings, db: Database) -> None:
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = TrainingWorker(settings, db, stop)

    with sweep_in_background(db, settings):
        while not stop.is_set():
            try:
                if not worker.run():
                    stop.wait(POLL_S)
            except DatabaseError as error:
                _log.warning("%s Trying again in %.0f s.", error, settings.sweep_s)
                stop.wait(settings.sweep_s)
            except Exception:
                _log.exception("Polling failed. Trying again in %.0f s.", settings.sweep_s)
                stop.wait(settings.sweep_s)


def _run_with_broker(settings: Settings, db: Database) -> None:
    app = make_worker_app(settings.broker_url)
    send = make_sender(app)

    def sweep_and_send() -> bool:
        sweep(db, settings)
        hints.send_due_trainings(db, send, settings.rehint_s)
        return hints.training_is_waiting(db)

    celery_worker = CeleryWorker(app, settings, sweep_and_send)
    worker = TrainingWorker(settings, db, celery_worker.stopping)
    add_task(app, worker.run)

    # The one thread is in this process, so that the training sees the program stop, and the pool's
    # time limit, which only ends processes, does not end a training.
    celery_worker.run("--pool=threads", "--concurrency=1", f"--queues={TRAINING_QUEUE}")
