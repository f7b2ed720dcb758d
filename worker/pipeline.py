"""One batch, from claim to rows: read, decode, predict, record. No transaction is open while it works."""

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError, ImageCode, ImageError, PickleError
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels
from models.release.files import load_release
from models.settings import Settings
from models.store import batches, cancellation, releases, reuse
from models.store.database import Database
from models.store.records import ImageRecord, Origin
from models.store.states import Outcome
from worker.engines.base import Engine
from worker.engines.load import load_engine
from worker.files import Files
from worker.lease import ClaimLostError, renewer

PREDICT_BATCH = 64
"""Images decoded, then predicted, at a time: more ran no faster, and took more memory (docs/decisions/0011)."""

_log = logging.getLogger(__name__)


class Pipeline:
    """What a worker process does with batches. It loads a release's network when it first meets one, and keeps it."""

    def __init__(self, db: Database, settings: Settings, worker: str) -> None:
        self._db = db
        self._settings = settings
        self._worker = worker
        self._network = lru_cache(maxsize=2)(self._load)
        self._find_scope = lru_cache(maxsize=16)(reuse.find_scope)

    def run(self, batch_id: int | None = None, job_id: int | None = None) -> bool:
        """Claims and classifies this batch, or the oldest one due, of any job or of one; False when none was due.

        Raises:
            DatabaseError: the batch stays claimed until its lease runs out, and is then run again.
        """
        claim = batches.claim(self._db, batch_id, self._worker, self._settings.lease_s, job_id)
        if claim is None:
            return False
        try:
            if not batches.complete(self._db, claim, self._classify(claim)):
                raise ClaimLostError
        except ClaimLostError:
            _log.info("batch=%d attempt=%d is no longer ours", claim.batch_id, claim.attempt)
        except (PickleError, EngineError) as error:
            cancellation.fail(self._db, claim.job_id, error)
        return True

    def _classify(self, claim: batches.Claim) -> list[ImageRecord]:
        """A row for each image of the batch.

        Raises:
            ClaimLostError: somebody else has it, or the job was cancelled.
            PickleError, EngineError: the release can't be used.
        """
        keep_alive = renewer(
            lambda: batches.renew(self._db, claim, self._settings.lease_s), self._settings.lease_s
        )
        files = Files(
            self._db, claim, self._find_scope(self._db, claim.job_id, claim.model_release_id)
        )
        rows = files.reused(keep_alive)
        done = {row.number for row in rows}
        left = [item for item in claim.items if item[0] not in done]
        for start in range(0, len(left), PREDICT_BATCH):
            engine, preprocessing = self._network(claim.model_release_id)
            rows += _predict(
                files, left[start : start + PREDICT_BATCH], engine, preprocessing, keep_alive
            )
        return rows

    def _load(self, release_id: int) -> tuple[Engine, Preprocessing]:
        row = releases.get(self._db, release_id)
        path: Path = releases.locate(row, self._settings.model)
        release = load_release(path, row.sha256)
        return load_engine(release, self._settings), release.preprocessing


def _predict(
    files: Files,
    items: list[tuple[int, str]],
    engine: Engine,
    preprocessing: Preprocessing,
    keep_alive: Callable[[], None],
) -> list[ImageRecord]:
    """A row for each item."""
    rows: list[ImageRecord] = []
    pixels: list[NDArray[np.uint8]] = []
    readable: list[tuple[int, str, Origin]] = []
    for number, path in items:
        keep_alive()
        try:
            data, origin = files.read(path)
            pixels.append(read_pixels(data, preprocessing))
            readable.append((number, path, origin))
        except ImageError as error:
            rows.append(ImageRecord(number, path, Outcome.UNREADABLE, error.code, str(error)))
    if pixels:
        scores = engine.predict(preprocessing.to_input(np.stack(pixels)))
        sound = np.isfinite(scores.sum(axis=1))  # One that isn't makes the sum so.
        rows += [_row(*item, *found) for item, *found in zip(readable, scores, sound, strict=True)]
    return rows


def _row(
    number: int, path: str, origin: Origin, scores: NDArray[np.float32], sound: bool
) -> ImageRecord:
    if not sound:
        return _failed(
            number, path, ImageCode.NOT_FINITE, "The network gave scores that are no numbers."
        )
    return ImageRecord(number, path, Outcome.CLASSIFIED, scores=scores, origin=origin)


def _failed(number: int, path: str, code: ImageCode, message: str) -> ImageRecord:
    return ImageRecord(number, path, Outcome.FAILED, code.value, message)
