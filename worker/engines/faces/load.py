"""Which detector finds faces: the one that ships, or a file of the user's."""

import hashlib
from pathlib import Path
from typing import Final

from models.errors import EngineError
from models.settings import SHIPPED_MODEL
from worker.engines.faces.base import Detector
from worker.engines.faces.yunet import YuNet

SHIPPED: Final = SHIPPED_MODEL.parent / "detectors" / "YuNet_2023mar.onnx"


def load_detector(weights: Path = SHIPPED, threads: int = 1) -> Detector:
    """Loads a detector whose file has the digest that lies beside it, in a `.sha256` file.

    Raises:
        EngineError: the file or its digest is missing or does not match, or OpenVINO cannot
            run it.
    """
    digest_file = weights.with_name(f"{weights.name}.sha256")
    try:
        content = weights.read_bytes()
        expected = digest_file.read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise EngineError(
            f"The face detector {weights} or its {digest_file.name} cannot be read: {error}. "
            f"Restore both; `sha256sum {weights.name} > {digest_file.name}` writes the digest."
        ) from error

    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise EngineError(
            f"The face detector {weights} was changed: its SHA-256 is {digest[:12]}..., expected "
            f"{expected[:12]}.... Install it again from a source you trust."
        )
    return YuNet(content, weights.stem, threads)
