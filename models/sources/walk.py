"""Walks a folder of any size in a stable order, with flat memory."""

import os
from collections.abc import Callable, Iterator
from itertools import groupby, islice

from models.errors import FolderError
from models.sources.names import is_image, to_text
from models.sources.read import PLACE_ERRORS

PASS = 100_000
"""Names of a folder that a walk holds at a time; up to twice as many while it lists the folder."""

CHUNK = 4_096
"""Directory entries read between two calls of `alive`."""


def walk(
    folder: bytes,
    recursive: bool,
    after: bytes | None = None,
    alive: Callable[[], object] = lambda: None,
    *,
    wait: bool = False,
) -> Iterator[bytes]:
    """Yields every path below a folder that needs an outcome, sorted by name within each folder.

    These are files with an image's ending, whatever they hold. They are also links to folders,
    which are never followed, and folders that cannot be listed, so that nothing is skipped
    silently. Paths are relative to the folder. No path comes twice.

    Args:
        after: resume after this path, which an interrupted walk yielded last.
        alive: called regularly during the walk, even where it finds nothing for a long time.
        wait: end the walk if the drive, the mount or the host fails, rather than yield the folder
            that cannot be listed because of that.

    Raises:
        FolderError: the folder itself cannot be listed; with `wait`, also one below it.
    """
    resume_after = tuple(after.split(b"/")) if after else ()

    # A stack of open folders instead of recursion: paths can nest deeper than Python's stack.
    levels = [(b"", resume_after, _sorted_entries(folder, resume_after, recursive, alive))]
    while levels:
        prefix, resume_after, entries = levels[-1]
        try:
            entry = next(entries, None)
        except OSError as error:
            levels.pop()
            if not levels or (wait and error.errno in PLACE_ERRORS):
                shown = to_text(os.path.join(folder, prefix).rstrip(b"/"))
                raise FolderError(f"{shown} cannot be listed: {error.strerror}.") from error
            yield prefix[:-1]
            continue

        if entry is None:
            levels.pop()
            continue

        name, is_folder = entry
        if resume_after == (name,):
            # Already yielded. If it is a folder, it could not be listed then: that is its outcome.
            continue
        if not is_folder:
            yield prefix + name
            continue

        path = prefix + name
        inner_resume = resume_after[1:] if resume_after[:1] == (name,) else ()
        subfolder = os.path.join(folder, path)
        entries = _sorted_entries(subfolder, inner_resume, recursive, alive)
        levels.append((path + b"/", inner_resume, entries))


def _sorted_entries(
    folder: bytes, resume_after: tuple[bytes, ...], recursive: bool, alive: Callable[[], object]
) -> Iterator[tuple[bytes, bool]]:
    """Yields a folder's images and subfolders, sorted, each with whether it is a folder.

    A large folder is listed again for every `PASS` names, so that no more of them are held
    (docs/decisions/0007).

    Raises:
        OSError: the folder cannot be listed, or no longer.
    """
    first = resume_after[0] if resume_after else b""
    has_more = True
    while has_more:
        names, folders, has_more = _list_smallest(folder, first, recursive, alive)
        for name in names:
            yield name, name in folders
        if has_more:
            first = names[-1] + b"\0"  # The next name that is possible.


def _list_smallest(
    folder: bytes, first: bytes, recursive: bool, alive: Callable[[], object]
) -> tuple[list[bytes], set[bytes], bool]:
    """Lists a folder's `PASS` smallest names that are not below `first`.

    Returns:
        The names, those of them that are folders, and whether the folder has more.
    """
    names: list[bytes] = []
    folders: set[bytes] = set()
    last = b"\xff" * 256  # Longer than any name.
    has_more = False

    alive()
    with os.scandir(folder) as entries:
        while chunk := list(islice(entries, CHUNK)):
            alive()
            for entry in chunk:
                if not first <= entry.name <= last:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if recursive:
                        names.append(entry.name)
                        folders.add(entry.name)
                elif is_image(entry.name) or (recursive and _is_linked_folder(entry)):
                    names.append(entry.name)

            if len(names) >= 2 * PASS:
                names = _smallest(names)
                folders.intersection_update(names)
                last = names[-1]
                has_more = True

    has_more = has_more or len(names) > PASS
    return _smallest(names), folders, has_more


def _smallest(names: list[bytes]) -> list[bytes]:
    """The `PASS` smallest names, each once.

    A name may occur twice when a file is removed and created again while its folder is listed.
    """
    names.sort()
    return [name for name, _ in islice(groupby(names), PASS)]


def _is_linked_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # A loop of links.
        return True
