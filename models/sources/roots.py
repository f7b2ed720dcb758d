"""Which folders may be read: a path is resolved, links and all, before it is compared."""

import os
from collections.abc import Sequence
from pathlib import Path

from models.errors import FolderError, OutsideRootsError
from models.sources.names import to_text


def check_folder(folder: str | bytes | Path, roots: Sequence[Path] | None = None) -> bytes:
    """The folder's real, absolute path, as bytes.

    Args:
        roots: when given, the folder must lie in one of them, links resolved.

    Raises:
        OutsideRootsError: as it says. It is the same sentence whether or not the folder exists.
        FolderError: missing, not a folder, or not readable.
    """
    name = os.fsencode(folder)
    real, shown = os.path.realpath(name) if roots is None else within(name, roots), to_text(name)
    if not os.path.exists(real):
        raise FolderError(f"{shown} doesn't exist.")
    if not os.path.isdir(real):
        raise FolderError(
            f"{shown} is a file, not a folder. Name the folder that holds the images."
        )
    try:
        os.scandir(real).close()
    except OSError as error:
        raise FolderError(
            f"{shown} can't be read by this user ({os.geteuid()}): {error.strerror}."
        ) from None
    return real


def within(path: bytes, roots: Sequence[Path]) -> bytes:
    """The real path, if it lies in one of the roots."""
    real = os.path.realpath(path)
    if not any(contains(os.path.realpath(os.fsencode(root)), real) for root in roots):
        raise OutsideRootsError(
            f"{to_text(path)} is outside the folders that the API may read. Add its root to CUEMILL_IMAGE_ROOTS "
            f"(now: {os.pathsep.join(map(str, roots)) or 'none'}) and start again."
        )
    return real


def contains(root: bytes, path: bytes) -> bool:
    return os.path.commonpath([root, path]) == root
