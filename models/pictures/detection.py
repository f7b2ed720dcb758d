"""How a job finds the faces in its pictures, as plain data."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final

MIN_FACE: Final = 20
"""Pixels. A network that takes 48 sees little in a smaller face (docs/decisions/0014-faces.md)."""
THRESHOLD: Final = 0.72


class FaceMode(StrEnum):
    """Whether a picture is a face or shows some."""

    AUTO = "auto"
    DETECT = "detect"
    WHOLE = "whole"


@dataclass(frozen=True)
class Detection:
    """How the faces in a job's pictures are found.

    Attributes:
        mode: `whole` takes each picture as one face; `detect` finds the faces in it; `auto` decides
            for each picture (docs/decisions/0015-crop-or-photograph.md).
        detector: path of the detector's ONNX file; "" if the mode needs none, as are the others.
        detector_sha256: the file's digest.
        min_face: the shorter side of the smallest box to report, in pixels of the upright picture.
        threshold: the lowest confidence to report, in [0, 1].
    """

    mode: FaceMode = FaceMode.WHOLE
    detector: str = ""
    detector_sha256: str = ""
    min_face: int = 0
    threshold: float = 0.0

    @property
    def digest(self) -> bytes:
        """A digest of everything that decides which faces are found; b"" for whole pictures."""
        if self.mode is FaceMode.WHOLE:
            return b""
        text = f"{self.mode} {self.detector_sha256} {self.min_face} {self.threshold!r}"
        return hashlib.sha256(text.encode()).digest()

    def to_plain(self) -> dict[str, Any]:
        """The values as JSON shows them: what the mode does not need is null."""
        if self.mode is FaceMode.WHOLE:
            return dict.fromkeys(("detector", "detector_sha256", "min_face", "threshold")) | {
                "mode": self.mode.value
            }
        return {
            "mode": self.mode.value,
            "detector": PurePath(self.detector).stem,
            "detector_sha256": self.detector_sha256,
            "min_face": self.min_face,
            "threshold": self.threshold,
        }


WHOLE: Final = Detection()
