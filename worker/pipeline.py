"""One batch from claim to record: read, decode, predict. No transaction is open meanwhile."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError, ImageCode, ImageError, PickleError
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels
from models.release.files import load_release
from models.settings import Settings
from models.store import batches, cancellation, releases, reuse
from models.store.batches import Claim, Item
from models.store.database import Database
from models.store.records import ImageRecord, Origin
from models.store.states import Outcome
from worker.engines.base import Engine
from worker.engines.load import load_engine
from worker.files import Files
from worker.lease import ClaimLostError, renewer

PREDICT_BATCH: Final = 64
"""Images read and then predicted at a time: more is no faster and takes more memory
(docs/decisions/0011)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """A loaded release: the engine that runs it, and how it wants its images."""

    engine: Engine
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Picture:
    """An image that was read. `pixels` is uint8 (height, width, 3), as the network wants them."""

    number: int
    path: str
    origin: Origin
    pixels: NDArray[np.uint8]


class Pipeline:
    """Classifies batches. It loads a release when it first meets one, and keeps the last two."""

    def __init__(self, db: Database, settings: Settings, worker: str) -> None:
        self._db = db
        self._settings = settings
        self._worker = worker
        self._network = lru_cache(maxsize=2)(self._load)
        self._find_scope = lru_cache(maxsize=16)(reuse.find_scope)

    def run(self, batch_id: int | None = None, job_id: int | None = None) -> bool:
        """Claims and classifies this batch, or the oldest one that is due; False if none is.

        Args:
            job_id: the only job to take a batch of; None = any.

        Raises:
            DatabaseError: the batch stays claimed until its lease expires, and then runs again.
        """
        claim = batches.claim(self._db, batch_id, self._worker, self._settings.lease_s, job_id)
        if claim is None:
            return False

        try:
            records = self._classify(claim)
            if not batches.complete(self._db, claim, records):
                raise ClaimLostError
        except ClaimLostError:
            _log.info("batch=%d attempt=%d claim lost", claim.batch_id, claim.attempt)
        except (PickleError, EngineError) as error:
            cancellation.fail(self._db, claim, error)

        return True

    def _classify(self, claim: Claim) -> list[ImageRecord]:
        """Returns a record of each image of the batch.

        Raises:
            ClaimLostError: another worker has the batch, or the job was cancelled.
            PickleError, EngineError: the release cannot be used.
        """
        lease_s = self._settings.lease_s
        keep_alive = renewer(partial(batches.renew, self._db, claim, lease_s), lease_s)
        scope = self._find_scope(self._db, claim.job_id, claim.model_release_id)
        files = Files(self._db, claim, scope)

        records = files.reuse(keep_alive)
        reused = {record.number for record in records}
        items = [(number, path) for number, path in claim.items if number not in reused]

        for start in range(0, len(items), PREDICT_BATCH):
            # Loaded here, so that a batch whose predictions are all reused needs no network.
            network = self._network(claim.model_release_id)
            part = items[start : start + PREDICT_BATCH]
            pictures, unreadable = _read(files, part, network.preprocessing, keep_alive)
            records += unreadable
            records += _predict(network, pictures)

        return records

    def _load(self, release_id: int) -> Network:
        row = releases.get(self._db, release_id)
        path = releases.locate(row, self._settings.model)
        release = load_release(path, row.sha256)
        return Network(load_engine(release, self._settings), release.preprocessing)


def _read(
    files: Files,
    items: Sequence[Item],
    preprocessing: Preprocessing,
    keep_alive: Callable[[], None],
) -> tuple[list[Picture], list[ImageRecord]]:
    """Reads, decodes and resizes images. Returns these, and a record of each unreadable one."""
    pictures: list[Picture] = []
    unreadable: list[ImageRecord] = []

    for number, path in items:
        keep_alive()
        try:
            data, origin = files.read(path)
            pixels = read_pixels(data, preprocessing)
        except ImageError as error:
            record = ImageRecord(number, path, Outcome.UNREADABLE, error.code, str(error))
            unreadable.append(record)
        else:
            pictures.append(Picture(number, path, origin, pixels))

    return pictures, unreadable


def _predict(network: Network, pictures: Sequence[Picture]) -> list[ImageRecord]:
    """Returns a record of each picture, with its scores."""
    if not pictures:
        return []

    pixels = np.stack([picture.pixels for picture in pictures])
    inputs = network.preprocessing.to_input(pixels)
    scores = network.engine.predict(inputs)  # (n, 28) in [0, 1]
    # A row's sum is finite only if all its scores are.
    finite = np.isfinite(scores.sum(axis=1))

    return [
        _record(picture, row, is_finite=bool(is_finite))
        for picture, row, is_finite in zip(pictures, scores, finite, strict=True)
    ]


def _record(picture: Picture, scores: NDArray[np.float32], *, is_finite: bool) -> ImageRecord:
    number, path = picture.number, picture.path
    if is_finite:
        return ImageRecord(number, path, Outcome.CLASSIFIED, scores=scores, origin=picture.origin)

    message = "The network's scores for this image are not finite numbers."
    return ImageRecord(number, path, Outcome.FAILED, ImageCode.NOT_FINITE.value, message)
