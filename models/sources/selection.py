"""Paths as a user names them: whole folders, and single files of folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from models.errors import UsageError
from models.sources.names import to_text

MAX_FILES: Final = 10_000
"""Single files of one folder. They are kept in one row, with their job."""


def group_by_folder(paths: Iterable[Path]) -> Iterator[tuple[Path, list[str] | None]]:
    """Yields each folder, with the names of its files if they were named and not the folder.

    What does not exist is yielded as a folder, for whoever opens it to say so.

    Raises:
        UsageError: too many files of one folder.
    """
    groups: dict[tuple[Path, bool], list[str]] = {}
    for path in paths:
        is_file = path.exists() and not path.is_dir()
        folder = path.parent if is_file else path
        names = groups.setdefault((folder, is_file), [])
        if is_file:
            names.append(to_text(os.fsencode(path.name)))

    for (folder, is_file), names in groups.items():
        if len(names) > MAX_FILES:
            raise UsageError(
                f"{len(names):,} files of {folder} were named; at most {MAX_FILES:,} can be. Name "
                "the folder instead."
            )
        yield folder, names if is_file else None
