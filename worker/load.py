"""What a worker process has loaded: networks and detectors, each tried out before it gets work."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from models.errors import DatabaseError
from models.pictures.detection import Detection, FaceMode
from models.pictures.preprocessing import Preprocessing
from models.release import detectors
from models.release.files import load_release
from models.settings import Settings
from models.store import releases, troubles
from models.store.database import Database
from worker.engines.base import Engine
from worker.engines.faces.base import Detector
from worker.engines.load import load_engine

KEPT: Final = 2
"""Networks that a process keeps, and detectors: a promotion changes from one to another."""
PREDICT_BATCH: Final = 64
"""Faces predicted at a time: more is no faster and takes more memory (docs/decisions/0011)."""

_log = logging.getLogger(__name__)
_Loaded = TypeVar("_Loaded")


class NotLoadedError(Exception):
    """A batch needs a network or a detector that this process has not loaded yet."""


@dataclass(frozen=True)
class Network:
    """A loaded release: the engine that runs it, and how it wants its images."""

    engine: Engine
    preprocessing: Preprocessing


class Loader:
    """Loads networks and detectors, by their files' digests.

    One that cannot be loaded, for whatever reason, is this host's trouble: the program says so in
    `troubles`, and stays away from jobs that need it for a while.
    """

    def __init__(self, db: Database, settings: Settings, program: str) -> None:
        self._db = db
        self._settings = settings
        self._program = program
        self._networks: dict[str, Network] = {}
        self._detectors: dict[str, Detector] = {}

    def load(self, release_sha256: str, detection: Detection) -> bool:
        """Loads what a job needs. Returns False if that cannot be done now.

        A detector takes a while to load, and many folders of cropped faces never need it. Without
        the mode `detect` it is loaded only once a picture needs it.
        """
        if not self._load(
            self._networks, release_sha256, "the network", lambda: self._read(release_sha256)
        ):
            return False
        return detection.mode is not FaceMode.DETECT or self.load_detector(detection)

    def load_detector(self, detection: Detection) -> bool:
        """Loads a job's detector. Returns False if that cannot be done now."""
        name = f"the face detector {detection.detector}"
        return self._load(
            self._detectors, detection.detector_sha256, name, lambda: _read_detector(detection)
        )

    def network(self, release_sha256: str) -> Network:
        """
        Raises:
            NotLoadedError: not loaded.
        """
        try:
            return self._networks[release_sha256]
        except KeyError:
            raise NotLoadedError from None

    def detector(self, detection: Detection) -> Detector:
        """
        Raises:
            NotLoadedError: not loaded.
        """
        try:
            return self._detectors[detection.detector_sha256]
        except KeyError:
            raise NotLoadedError from None

    def _load(
        self,
        loaded: dict[str, _Loaded],
        sha256: str,
        name: str,
        read: Callable[[], _Loaded],
    ) -> bool:
        if sha256 in loaded:
            loaded[sha256] = loaded.pop(sha256)  # The last used comes last.
            return True
        if not troubles.begin(self._db, self._program, sha256, name):
            return False

        try:
            loaded[sha256] = read()
        except DatabaseError:
            raise
        except Exception as error:
            # Whatever it is, neither this process nor an image has to die of it.
            _log.warning("%s cannot be loaded: %s", name, error)
            troubles.fail(self._db, self._program, sha256, error)
            return False

        troubles.end(self._db, self._program, sha256)
        if len(loaded) > KEPT:
            del loaded[next(iter(loaded))]
        return True

    def _read(self, release_sha256: str) -> Network:
        row = releases.get(self._db, releases.find(self._db, release_sha256))
        release = load_release(releases.locate(row, self._settings.model), row.sha256)
        network = Network(load_engine(release, self._settings), release.preprocessing)

        # As many as ever at a time: a host may have the memory for one face alone.
        faces = np.zeros((PREDICT_BATCH, *release.preprocessing.size[::-1], 3), np.uint8)
        network.engine.predict(network.preprocessing.to_input(faces))
        return network


def _read_detector(detection: Detection) -> Detector:
    from worker.engines.faces.load import load_detector

    detector = load_detector(detectors.locate(detection), detection.detector_sha256)
    side = detector.shorter_side
    detector.detect(Image.new("RGB", (side, side)), detection.threshold)
    return detector
