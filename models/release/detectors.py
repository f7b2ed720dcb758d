"""The ONNX files of face detectors: which one ships, and what a file's digest is.

A job records the digest of its detector, and a worker loads no other bytes than these. Only a
worker parses the file (docs/decisions/0014-faces.md); here it is only hashed.
"""

import hashlib
from pathlib import Path
from typing import Final

from models.errors import EngineError
from models.settings import SHIPPED_MODEL

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


def locate(path: Path, sha256: str) -> Path:
    """Where a job's detector lies on this host.

    A host may have Cuemill installed elsewhere than the host that submitted the job, so the path
    counts only for a file of the user's own.
    """
    return SHIPPED if sha256 == shipped_digest() else path
