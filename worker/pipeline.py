"""One batch from claim to record: read, find faces, predict. No transaction is open meanwhile."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError, ImageCode, ImageError, PickleError
from models.pictures.detection import Detection
from models.pictures.preprocessing import Preprocessing
from models.release import detectors
from models.release.files import load_release
from models.settings import Settings
from models.store import batches, cancellation, releases, reuse
from models.store.batches import Claim, Item
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord, Origin
from models.store.states import Outcome
from worker.engines.base import Engine
from worker.engines.faces.base import MAX_FACES, Detector
from worker.engines.load import load_engine
from worker.faces import Face, FaceFinder, Found
from worker.files import Files
from worker.lease import ClaimLostError, renewer

PREDICT_BATCH: Final = 64
"""Faces predicted at a time: more is no faster and takes more memory (docs/decisions/0011)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """A loaded release: the engine that runs it, and how it wants its images."""

    engine: Engine
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Picture:
    """An image that was read, and what was found in it: at least one face."""

    number: int
    path: str
    origin: Origin
    found: Found


class Pipeline:
    """Classifies batches. It loads a release when it first meets one, and keeps the last two.

    What it keeps has digests for keys: in a restored backup, an id may be that of something else.
    """

    def __init__(self, db: Database, settings: Settings, worker: str) -> None:
        self._db = db
        self._settings = settings
        self._worker = worker
        self._network = lru_cache(maxsize=2)(self._load)
        self._detector = lru_cache(maxsize=2)(_load_detector)

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
            PickleError, EngineError: the release or the detector cannot be used.
        """
        lease_s = self._settings.lease_s
        keep_alive = renewer(partial(batches.renew, self._db, claim, lease_s), lease_s)
        scope = reuse.find_scope(self._db, claim.job_id, claim.model_release_id)
        files = Files(self._db, claim, scope)

        records = files.reuse(keep_alive)
        reused = {record.number for record in records}
        items = [(number, path) for number, path in claim.items if number not in reused]
        if not items:
            return records

        # Loaded here, so that a batch whose results are all reused needs no network.
        network = self._network(claim.release_sha256)
        load = partial(self._detector, claim.detection)
        finder = FaceFinder(claim.detection, network.preprocessing, load)
        return records + _classify(files, items, finder, network, keep_alive)

    def _load(self, release_sha256: str) -> Network:
        row = releases.get(self._db, releases.find(self._db, release_sha256))
        path = releases.locate(row, self._settings.model)
        release = load_release(path, row.sha256)
        return Network(load_engine(release, self._settings), release.preprocessing)


def _load_detector(detection: Detection) -> Detector:
    from worker.engines.faces.load import load_detector

    return load_detector(detectors.locate(detection), detection.detector_sha256)


def _classify(
    files: Files,
    items: Sequence[Item],
    finder: FaceFinder,
    network: Network,
    keep_alive: Callable[[], None],
) -> list[ImageRecord]:
    """Reads images, finds their faces and predicts those of several images together."""
    records: list[ImageRecord] = []
    waiting: list[Picture] = []
    faces_waiting = 0

    for number, path in items:
        keep_alive()
        try:
            data, origin = files.read(path)
            found = finder.find(data)
        except ImageError as error:
            records.append(ImageRecord(number, path, Outcome.UNREADABLE, error.code, str(error)))
            continue

        if not found.faces:
            records.append(ImageRecord(number, path, Outcome.NO_FACE, origin=origin))
            continue

        waiting.append(Picture(number, path, origin, found))
        faces_waiting += len(found.faces)
        if faces_waiting >= PREDICT_BATCH:
            records += _predict(network, waiting)
            waiting, faces_waiting = [], 0

    return records + _predict(network, waiting)


def _predict(network: Network, pictures: Sequence[Picture]) -> list[ImageRecord]:
    """Returns a record of each picture, with the scores of its faces."""
    faces = [face for picture in pictures for face in picture.found.faces]
    rows = [
        row
        for start in range(0, len(faces), PREDICT_BATCH)
        for row in _score(network, faces[start : start + PREDICT_BATCH])
    ]

    scores = iter(rows)
    return [
        _record(picture, list(islice(scores, len(picture.found.faces)))) for picture in pictures
    ]


def _score(network: Network, faces: Sequence[Face]) -> list[NDArray[np.float32] | None]:
    """The scores of each face, float32 (28,) in [0, 1]; None if they are not finite."""
    pixels = np.stack([face.pixels for face in faces])
    scores = network.engine.predict(network.preprocessing.to_input(pixels))
    # A row's sum is finite only if all its scores are.
    finite = np.isfinite(scores.sum(axis=1))
    return [
        row if is_finite else None for row, is_finite in zip(scores, finite.tolist(), strict=True)
    ]


def _record(picture: Picture, scores: Sequence[NDArray[np.float32] | None]) -> ImageRecord:
    number, path = picture.number, picture.path
    faces = [
        FaceRecord(row, face.box, face.confidence, face.roll)
        for face, row in zip(picture.found.faces, scores, strict=True)
        if row is not None
    ]
    if len(faces) < len(picture.found.faces):
        message = "The network's scores for this image are not finite numbers."
        return ImageRecord(number, path, Outcome.FAILED, ImageCode.NOT_FINITE.value, message)

    record = ImageRecord(number, path, Outcome.CLASSIFIED, faces=faces, origin=picture.origin)
    if picture.found.is_all:
        return record
    return replace(
        record,
        error_code=ImageCode.TOO_MANY_FACES.value,
        error_message=f"There are more faces; only the {MAX_FACES:,} surest were looked at.",
    )
