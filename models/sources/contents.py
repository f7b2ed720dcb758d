"""What is in a folder, for people who look for theirs: its subfolders, and how many pictures."""

import os
from dataclasses import dataclass
from itertools import islice
from typing import Final

from models.errors import FolderError
from models.sources.names import is_image, to_text

MAX_ENTRIES: Final = 10_000


@dataclass(frozen=True)
class Contents:
    """
    Args:
        folders: names of subfolders, in order.
        images: files in the folder itself whose names are those of images.
        is_whole: whether these are all; else only the first entries were looked at.
    """

    folders: list[str]
    images: int
    is_whole: bool


def read_contents(folder: bytes) -> Contents:
    """Looks into a folder, but into none below it.

    Raises:
        FolderError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            seen = list(islice(entries, MAX_ENTRIES + 1))
            names = [entry.name for entry in seen if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise FolderError(f"{to_text(folder)} cannot be read: {error.strerror}.") from None

    # A name that is no UTF-8 cannot be asked for; the folder above it can.
    shown = [name.decode() for name in names if not name.startswith(b".") and _is_text(name)]
    images = sum(is_image(entry.name) for entry in seen)
    return Contents(sorted(shown, key=str.casefold), images, len(seen) <= MAX_ENTRIES)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
