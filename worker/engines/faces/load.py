"""Loads a face detector: the one that ships, or a file of the user's."""

import hashlib
from pathlib import Path

from models.errors import EngineError
from worker.engines.faces.base import Detector
from worker.engines.faces.yunet import YuNet


def load_detector(path: Path, sha256: str, threads: int = 1) -> Detector:
    """Loads a detector whose file has the digest that the job recorded.

    Args:
        path: an ONNX file; `models.release.detectors` knows the one that ships.
        sha256: the expected digest.
        threads: cores to use.

    Raises:
        EngineError: the file is missing, has another digest, or OpenVINO cannot run it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"The face detector {path} cannot be read: {error.strerror}. Put the file back, "
            "or start a new job with another detector."
        ) from None

    # The digest is of the bytes that are parsed, not of a file that may change in between.
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise EngineError(
            f"The face detector {path} was changed: its SHA-256 is {actual[:12]}..., expected "
            f"{sha256[:12]}.... Put the old file back, or start a new job."
        )
    return YuNet(content, path.stem, threads)
