"""One batch, from claim to rows: read, decode, predict, record. No transaction is open while it works."""

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import batches, jobs, pickles, releases
from models.database import Database
from models.errors import EngineError, ImageCode, ImageError, PickleError
from models.images import decode
from models.paths import read_image, to_bytes
from models.preprocessing import Preprocessing
from models.results import Row
from models.settings import Settings
from models.states import Outcome
from worker.engines.base import Engine
from worker.engines.load import load_engine

_log = logging.getLogger(__name__)


class Pipeline:
    """What a worker process does with batches. It loads a release's network when it first meets one, and keeps it."""

    def __init__(self, db: Database, settings: Settings, worker: str) -> None:
        self._db = db
        self._settings = settings
        self._worker = worker
        self._network = lru_cache(maxsize=2)(self._load)

    def run(self, batch_id: int | None = None, job_id: int | None = None) -> bool:
        """Claims and classifies this batch, or the oldest one due, of any job or of one; False when none was due.

        Raises:
            DatabaseError: the batch stays claimed until its lease runs out, and is then run again.
        """
        claim = batches.claim(self._db, batch_id, self._worker, self._settings.lease_s, job_id)
        if claim is None:
            return False
        rows = self._classify(claim)
        if rows is None or not batches.complete(self._db, claim, rows):
            _log.info("batch=%d attempt=%d is no longer ours", claim.batch_id, claim.attempt)
        return True

    def _classify(self, claim: batches.Claim) -> list[Row] | None:
        """A row for each image of the batch; None when the claim was lost meanwhile."""
        try:
            engine, preprocessing = self._network(claim.model_release_id)
        except (PickleError, EngineError) as error:
            jobs.fail(self._db, claim.job_id, error)
            return None
        keep_alive = self._keeper(claim)
        pixels: list[NDArray[np.uint8]] = []
        rows: list[Row] = []
        readable: list[tuple[int, str]] = []
        folder = to_bytes(claim.folder)
        for number, path in claim.items:
            if not keep_alive():
                return None
            try:
                pixels.append(preprocessing.resize(decode(read_image(folder, to_bytes(path)), preprocessing.size)))
                readable.append((number, path))
            except ImageError as error:
                rows.append(Row(number, path, Outcome.UNREADABLE, error.code, str(error)))
        if pixels:
            scores = engine.predict(preprocessing.to_input(np.stack(pixels)))
            for (number, path), score in zip(readable, scores, strict=True):
                rows.append(_row(number, path, score))
        return rows

    def _keeper(self, claim: batches.Claim) -> Callable[[], bool]:
        """Renews the lease each third of it, as long as the work moves on; a worker that hangs loses its batch."""
        due = time.monotonic() + self._settings.lease_s / 3

        def keep_alive() -> bool:
            nonlocal due
            if time.monotonic() < due:
                return True
            due = time.monotonic() + self._settings.lease_s / 3
            return batches.renew(self._db, claim, self._settings.lease_s)

        return keep_alive

    def _load(self, release_id: int) -> tuple[Engine, Preprocessing]:
        row = releases.get(self._db, release_id)
        path: Path = releases.locate(row, self._settings.model)
        release = pickles.load(path, row.sha256)
        return load_engine(release, self._settings), release.preprocessing


def _row(number: int, path: str, scores: NDArray[np.float32]) -> Row:
    if not np.isfinite(scores).all():
        return _failed(number, path, ImageCode.NOT_FINITE, "The network gave scores that are no numbers.")
    return Row(number, path, Outcome.CLASSIFIED, scores=scores)


def _failed(number: int, path: str, code: ImageCode, message: str) -> Row:
    return Row(number, path, Outcome.FAILED, code.value, message)
