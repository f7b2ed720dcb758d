"""Which folders may be read. Paths are compared after links are resolved."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from models.errors import FolderError, OutsideRootsError
from models.sources.names import to_text


def check_folder(
    folder: str | bytes | Path, roots: Sequence[Path] | None = None, spool: Path | None = None
) -> bytes:
    """Checks that a folder can be read, and returns its real, absolute path.

    Args:
        roots: folders of which one must contain it; None = it may be anywhere.
        spool: a folder that must not contain it, whatever the roots.

    Raises:
        OutsideRootsError: the folder is outside the roots. The text does not depend on whether it
            exists.
        FolderError: the folder does not exist, is not a folder or cannot be read.
    """
    name = os.fsencode(folder)
    shown_name = to_text(name)
    real_path = os.path.realpath(name) if roots is None else within(name, roots, spool)

    if not os.path.exists(real_path):
        raise FolderError(f"{shown_name} does not exist.")
    if not os.path.isdir(real_path):
        raise FolderError(
            f"{shown_name} is a file, not a folder. Name the folder that contains the images."
        )
    try:
        os.scandir(real_path).close()
    except OSError as error:
        raise FolderError(
            f"{shown_name} cannot be read by this user ({os.geteuid()}): {error.strerror}."
        ) from None
    return real_path


def identify(folder: bytes) -> str:
    """What tells a folder from another of the same path, such as that below a missing mount.

    Its inode is the same on every host, unlike the number of its device.

    Raises:
        FolderError: the folder cannot be reached.
    """
    try:
        return str(os.stat(folder).st_ino)
    except OSError as error:
        raise FolderError(f"{to_text(folder)} cannot be reached: {error.strerror}.") from None


def check_identity(folder: bytes, expected: str | None) -> None:
    """Checks that a folder is the one that was identified before, if any was.

    Raises:
        FolderError: the folder is gone, or another one has its path.
    """
    if expected not in (None, identify(folder)):
        raise FolderError(
            f"{to_text(folder)} is not the folder that was listed: another drive may be mounted "
            "there, or none. Mount the right one, or start a new job."
        )


def is_gone_or_empty(folder: bytes) -> bool:
    """Whether a folder is no longer there, or has become what is left of a missing mount."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def within(path: bytes, roots: Sequence[Path], spool: Path | None = None) -> bytes:
    """The real path, if one of the roots contains it.

    Raises:
        OutsideRootsError: none does, or it is in the spool, which has the files of others.
    """
    real_path = os.path.realpath(path)
    if spool is not None and contains(os.path.realpath(os.fsencode(spool)), real_path):
        raise OutsideRootsError(
            f"{to_text(path)} is in the spool of uploads, which the API does not read by path. "
            "Name the upload instead of a folder."
        )
    for root in roots:
        if contains(os.path.realpath(os.fsencode(root)), real_path):
            return real_path

    current = os.pathsep.join(map(str, roots)) or "none"
    raise OutsideRootsError(
        f"{to_text(path)} is outside the folders that the API may read (now: {current}). "
        "Add its root to CUEMILL_IMAGE_ROOTS and restart the API."
    )


def patterns_without(spool: Path, folder: bytes) -> tuple[str, ...]:
    """The pattern that excludes the spool from a job of a folder above it; none for any other."""
    real_spool = os.path.realpath(os.fsencode(spool))
    if not contains(folder, real_spool):
        return ()
    return (f"/{glob.escape(to_text(os.path.relpath(real_spool, folder)))}",)


def contains(root: bytes, path: bytes) -> bool:
    return os.path.commonpath([root, path]) == root
