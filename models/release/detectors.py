"""The ONNX files of face detectors: which one ships, and what a file's digest is.

A job records the digest of its detector, and a worker loads no other bytes than these. Only a
worker parses the file (docs/decisions/0014-faces.md); here it is only hashed.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from models.errors import EngineError
from models.pictures.detection import WHOLE, Detection, FaceMode
from models.settings import SHIPPED_MODEL
from models.sources.names import to_bytes, to_text

SHIPPED: Final = SHIPPED_MODEL.parent / "detectors" / "YuNet_2023mar.onnx"


def shipped_digest() -> str:
    """The SHA-256 of the detector that ships, as the file beside it says.

    Raises:
        EngineError: that file is missing or empty.
    """
    digest_file = SHIPPED.with_name(f"{SHIPPED.name}.sha256")
    try:
        return digest_file.read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        raise EngineError(
            f"{digest_file} is missing or empty, so the face detector cannot be verified. "
            "Install Cuemill again."
        ) from None


def digest_of(path: Path) -> str:
    """The SHA-256 of a detector's file.

    Raises:
        EngineError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise EngineError(
            f"No face detector at {path}. Give the path of an ONNX file with YuNet's outputs."
        )
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineError(
            f"The face detector {path} cannot be read: {error.strerror}. Make it readable to this "
            "user."
        ) from None


def locate(detection: Detection) -> Path:
    """Where a job's detector lies on this host.

    A host may have Cuemill installed elsewhere than the host that submitted the job, so the path
    counts only for a file of the user's own.
    """
    if detection.detector_sha256 == shipped_digest():
        return SHIPPED
    return Path(os.fsdecode(to_bytes(detection.detector)))


def choose_detection(
    mode: FaceMode, min_face: int, threshold: float, file: Path | None = None
) -> Detection:
    """How a new job finds faces.

    Args:
        file: a detector of the user's own; None = the one that ships.

    Raises:
        EngineError: the file cannot be read.
    """
    if mode is FaceMode.WHOLE:
        return WHOLE
    if file is None:
        return Detection(mode, str(SHIPPED), shipped_digest(), min_face, threshold)
    return Detection(
        mode, to_text(os.fsencode(file.absolute())), digest_of(file), min_face, threshold
    )
