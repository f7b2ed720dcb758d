"""From an image file to the faces in it, as a network takes them: decode, find, cut out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pictures.crops import FRAME, crop, roll_of
from models.pictures.decode import read_size
from models.pictures.detection import Detection, FaceMode
from models.pictures.photograph import Photograph
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels, resize
from models.store.records import Box
from worker.engines.faces.base import MAX_FACES, Detector, Faces
from worker.engines.faces.rule import is_crop, is_sure_crop


@dataclass(frozen=True)
class Face:
    """A face to classify.

    Attributes:
        pixels: uint8 (height, width, 3), as the network wants them.
        box, confidence, roll: as in `FaceRecord`; None if the whole picture was taken.
    """

    pixels: NDArray[np.uint8]
    box: Box | None = None
    confidence: float | None = None
    roll: float | None = None


@dataclass(frozen=True)
class Found:
    """The faces of one picture, the surest first; `is_all` is False if there were too many."""

    faces: Sequence[Face]
    is_all: bool = True


class FaceFinder:
    """Finds the faces in image files, as a job's detection says.

    Args:
        load: makes the detector; called for the first picture that needs it, which takes a while.
    """

    def __init__(
        self, detection: Detection, preprocessing: Preprocessing, load: Callable[[], Detector]
    ) -> None:
        self._detection = detection
        self._preprocessing = preprocessing
        self._load = load

    def find(self, data: bytes) -> Found:
        """The faces in an image file.

        Raises:
            ImageError: as `decode`.
            EngineError: the detector cannot be used.
        """
        mode = self._detection.mode
        if mode is FaceMode.WHOLE or (mode is FaceMode.AUTO and is_sure_crop(read_size(data))):
            return self._whole(data)

        detector = self._load()
        photograph = Photograph(data, detector.shorter_side)
        faces = detector.detect(photograph.view, self._detection.threshold)
        if mode is FaceMode.AUTO and is_crop(photograph.view.size, faces):
            return self._whole(data)

        sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1) / photograph.scale
        chosen = np.flatnonzero(sides >= self._detection.min_face)
        return Found(
            [self._cut_out(photograph, faces, index) for index in chosen.tolist()],
            is_all=len(faces) < MAX_FACES,
        )

    def _whole(self, data: bytes) -> Found:
        return Found([Face(read_pixels(data, self._preprocessing))])

    def _cut_out(self, photograph: Photograph, faces: Faces, index: int) -> Face:
        box, roll = faces.boxes[index], roll_of(faces.points[index])
        image = photograph.view

        # A face smaller in the view than the network's input is cut from the full picture.
        side = FRAME * float((box[2:] - box[:2]).max())
        if side < max(self._preprocessing.size) and photograph.scale < 1:
            image = photograph.full
            box = box / np.float32(photograph.scale)

        square = crop(image, box, roll, self._preprocessing.size)
        return Face(
            resize(square, self._preprocessing),
            _to_pixels(faces.boxes[index] / photograph.scale, photograph.width, photograph.height),
            float(faces.confidences[index]),
            roll,
        )


def _to_pixels(box: NDArray[np.float32], width: int, height: int) -> Box:
    """A box (left, top, right, bottom) as whole pixels within the picture."""
    left, top, right, bottom = (float(side) for side in box)
    x = min(max(math.floor(left), 0), width - 1)
    y = min(max(math.floor(top), 0), height - 1)
    return (
        x,
        y,
        max(min(math.ceil(right), width) - x, 1),
        max(min(math.ceil(bottom), height) - y, 1),
    )
