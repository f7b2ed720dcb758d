"""Files and folders that a scan passes over, by patterns."""

import fnmatch
import re
from collections.abc import Sequence
from typing import Final

from models.sources.names import to_bytes

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
"""What photo systems, NAS and desktops leave in folders: thumbnails and deleted pictures."""


def patterns_for(exclude: Sequence[str], *, system_folders: bool) -> tuple[str, ...]:
    """The patterns of a job.

    Args:
        exclude: as `to_text` writes them.
        system_folders: whether to enter the folders that photo systems make.
    """
    defaults = () if system_folders else SYSTEM_FOLDERS
    return tuple(dict.fromkeys((*defaults, *exclude)))


class Exclusions:
    """Patterns as in a shell: `*`, `?`, `[...]`. Case matters.

    A pattern with a slash is compared with the path below the job's folder, any other with the
    names of files and folders. What is in a folder that matches is passed over too.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._names: dict[bytes, str] = {}
        self._globs: list[tuple[re.Pattern[str], str]] = []
        self._path_globs: list[tuple[re.Pattern[str], str]] = []

        for pattern in patterns:
            if not any(character in pattern for character in "*?[/"):
                self._names[to_bytes(pattern)] = pattern
                continue
            glob = re.compile(fnmatch.translate(_decode(to_bytes(pattern)).strip("/")))
            is_path = "/" in pattern.rstrip("/")
            (self._path_globs if is_path else self._globs).append((glob, pattern))

    def match(self, prefix: bytes, name: bytes) -> str | None:
        """The pattern that a file or folder matches.

        Args:
            prefix: the path of its folder, with a slash at its end, or empty.
        """
        pattern = self._names.get(name)
        if pattern is not None:
            return pattern

        text = _decode(name)
        for glob, pattern in self._globs:
            if glob.match(text):
                return pattern

        if self._path_globs:
            path = _decode(prefix + name)
            for glob, pattern in self._path_globs:
                if glob.match(path):
                    return pattern
        return None


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
