"""One batch from claim to record: read, find faces, predict. No transaction is open meanwhile."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.errors import FolderError, ImageCode, ImageError, PlaceError
from models.logs import about
from models.settings import Settings
from models.store import backoff, batches, reuse
from models.store.batches import Claim, Item
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord, Origin
from models.store.states import Outcome
from worker.engines.faces.base import MAX_FACES
from worker.faces import Face, FaceFinder, Found
from worker.files import Files
from worker.lease import ClaimLostError
from worker.load import PREDICT_BATCH, Loader, Network, NotLoadedError
from worker.watch import CHECKS_PER_LEASE, answers, watch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """An image that was read, and what was found in it: at least one face."""

    number: int
    path: str
    origin: Origin
    found: Found


class Pipeline:
    """Classifies batches, with the networks and detectors that this process has loaded.

    Args:
        worker: the name under which it claims batches.
        program: the name of the worker program; None = the worker is one of its own.

    Attributes:
        program: as given.
    """

    def __init__(
        self, db: Database, settings: Settings, worker: str, program: str | None = None
    ) -> None:
        self._db = db
        self._settings = settings
        self._worker = worker
        self.program = program or worker
        self._loader = Loader(db, settings, self.program)

    def run(self, batch_id: int | None = None, job_id: int | None = None) -> bool:
        """Claims and classifies this batch, or the oldest one that is due; False if none is.

        What it needs is loaded and tried out before it is claimed: a process that dies of that
        holds no batch, and no image is to blame.

        Args:
            job_id: the only job to take a batch of; None = any.

        Raises:
            DatabaseError: the batch stays claimed until its lease expires, and then runs again.
        """
        due = batches.find_due(self._db, batch_id, job_id, self.program)
        if due is None or not self._loader.load(due.release_sha256, due.detection):
            return False

        lease_s = self._settings.lease_s
        claim = batches.claim(self._db, batch_id, self._worker, lease_s, job_id, due)
        if claim is None:
            return False

        with about(job=claim.job_id, batch=claim.batch_id, attempt=claim.attempt):
            try:
                self._run(claim)
            except ClaimLostError:
                _log.info("Another worker has the batch, or its job has ended.")
        return True

    def _run(self, claim: Claim) -> None:
        """Classifies a batch, and gives back what could not be classified now.

        Raises:
            ClaimLostError: another worker has the batch, or the job was cancelled.
        """
        records: list[ImageRecord] = []
        troubles: dict[Item, PlaceError] = {}
        trouble: FolderError | PlaceError | None = None
        missing = False

        try:
            self._classify(claim, records, troubles)
        except NotLoadedError:
            missing = True
        except FolderError as error:
            trouble = error
        except MemoryError:
            recorded = {record.number for record in records}
            lack = PlaceError("The host has too little memory.", ImageCode.OUT_OF_MEMORY)
            troubles |= {item: lack for item in claim.items if item[0] not in recorded}

        if troubles:
            trouble = trouble or next(iter(troubles.values()))
            if self._is_last_try(claim):
                records += [_give_up(item, error) for item, error in troubles.items()]
        if trouble is not None:
            _log.warning("The batch goes back: %s", trouble)
        if not batches.complete(self._db, claim, records, trouble):
            raise ClaimLostError

        if missing:
            self._loader.load_detector(claim.detection)

    def _classify(
        self, claim: Claim, records: list[ImageRecord], troubles: dict[Item, PlaceError]
    ) -> None:
        """Adds a record of each image of the batch, or why it cannot be read now.

        Raises:
            ClaimLostError: another worker has the batch, or the job was cancelled.
            NotLoadedError: the batch needs a network or a detector that is not loaded.
            FolderError: the job's folder cannot be used.
        """
        lease_s = self._settings.lease_s
        renew = partial(batches.renew, self._db, claim, lease_s)
        give_back = partial(self._give_back, claim)

        with watch(renew, give_back, lease_s) as state:
            scope = reuse.find_scope(self._db, claim.job_id, claim.model_release_id)
            files = Files(self._db, claim, scope, state)
            records += files.reuse()

            reused = {record.number for record in records}
            items = [item for item in claim.items if item[0] not in reused]
            if items:
                network = self._loader.network(claim.release_sha256)
                load = partial(self._loader.detector, claim.detection)
                finder = FaceFinder(claim.detection, network.preprocessing, load)
                _classify(files, items, finder, network, records, troubles, lease_s)

    def _is_last_try(self, claim: Claim) -> bool:
        return claim.tries >= backoff.MIN_TRIES - 1 and claim.troubled_s >= self._settings.give_up_s

    def _give_back(self, claim: Claim, path: str) -> None:
        """Gives a batch back because a file does not answer; "" = its folder."""
        numbers = {name: number for number, name in claim.items}
        others = [name for name in numbers if name != path]
        if not answers(claim.folder, others[:1], self._settings.lease_s / CHECKS_PER_LEASE):
            error = FolderError(f"{claim.folder} does not answer. Check its drive or mount.")
            batches.complete(self._db, claim, [], error)
            return

        number = numbers[path]
        trouble = PlaceError("The file did not answer when it was read.", ImageCode.READ_TIMEOUT)
        if self._is_last_try(claim):
            batches.complete(self._db, claim, [_give_up((number, path), trouble)])
        else:
            batches.complete(self._db, claim, [], trouble, culprit=number)


def _give_up(item: Item, error: PlaceError) -> ImageRecord:
    number, path = item
    is_memory = error.image_code is ImageCode.OUT_OF_MEMORY
    outcome = Outcome.FAILED if is_memory else Outcome.UNREADABLE
    return ImageRecord(number, path, outcome, error.image_code.value, str(error))


def _classify(
    files: Files,
    items: Sequence[Item],
    finder: FaceFinder,
    network: Network,
    records: list[ImageRecord],
    troubles: dict[Item, PlaceError],
    patience_s: float,
) -> None:
    """Reads images, finds their faces and predicts those of several images together.

    Args:
        records, troubles: to add to.
        patience_s: how long reading may fail altogether before it stops.
    """
    waiting: list[Picture] = []
    faces_waiting = 0
    failing_s = 0.0

    for number, path in items:
        began_at = time.monotonic()
        try:
            data, origin = files.read(path)
            found = finder.find(data)
        except ImageError as error:
            records.append(ImageRecord(number, path, Outcome.UNREADABLE, error.code, str(error)))
            continue
        except PlaceError as error:
            troubles[number, path] = error
            failing_s += time.monotonic() - began_at
            if failing_s > patience_s:
                break
            continue

        if not found.faces:
            records.append(ImageRecord(number, path, Outcome.NO_FACE, origin=origin))
            continue

        waiting.append(Picture(number, path, origin, found))
        faces_waiting += len(found.faces)
        if faces_waiting >= PREDICT_BATCH:
            records += _predict(network, waiting)
            waiting, faces_waiting = [], 0

    records += _predict(network, waiting)


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
