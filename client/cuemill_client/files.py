"""The pictures of a folder of this machine, which an upload sends."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".gif"),
    *(".tif", ".tiff", ".bmp", ".dib", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm"),
    *(".heic", ".heif", ".hif"),
)
"""Endings of the files that a server may take for pictures."""

SYSTEM_FOLDERS: Final = (
    "@eaDir",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "System Volume Information",
    ".thumbnails",
    ".Trash-*",
    "Thumbs.db",
)
"""What photo systems leave in folders. A server passes over it, so it is not sent."""


@dataclass(frozen=True)
class LocalFile:
    """A file to send.

    Attributes:
        name: its path within the folder, with slashes.
    """

    name: str
    path: Path
    bytes: int


def list_files(folder: str | os.PathLike[str]) -> Iterator[LocalFile]:
    """Yields the pictures of a folder and its subfolders, in a stable order.

    Links to folders are not followed.

    Raises:
        NotADirectoryError: it is no folder, or is not there.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder.")

    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_passed_over(name))
        for name in sorted(names):
            path = Path(place, name)
            if is_picture(name) and path.is_file():
                yield LocalFile(path.relative_to(root).as_posix(), path, path.stat().st_size)


def is_picture(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _is_passed_over(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in SYSTEM_FOLDERS)
