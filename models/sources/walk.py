"""Walking a folder of any size: every path that is to have an outcome, in one stable order."""

import os
from collections.abc import Callable, Iterator
from itertools import groupby, islice

from models.errors import FolderError
from models.sources.names import is_image, to_text

PASS = 100_000
"""Names of a folder that a walk holds at a time; up to twice as many while it looks for them."""
CHUNK = 4_096


def walk(
    folder: bytes,
    recursive: bool,
    after: bytes | None = None,
    alive: Callable[[], object] = lambda: None,
) -> Iterator[bytes]:
    """Paths below a folder, relative to it, that are to have an outcome; each folder sorted by name, as bytes.

    These are the files with an image's ending, whatever they hold, and, so that nothing is passed over in silence,
    links to folders (never followed) and folders that can't be listed. No path comes twice, and memory stays flat
    however many names a folder holds.

    Args:
        after: go on behind this path, as a walk that was interrupted does.
        alive: called again and again while the walk looks, also where it finds nothing for long.

    Raises:
        FolderError: the folder itself can't be listed.
    """
    behind = tuple(after.split(b"/")) if after else ()
    levels = [
        (b"", behind, _sorted(folder, behind, recursive, alive))
    ]  # No recursion: paths nest deeper than Python.
    while levels:
        prefix, behind, names = levels[-1]
        try:
            found = next(names, None)
        except OSError as error:
            levels.pop()
            if not levels:
                raise FolderError(
                    f"{to_text(folder)} can't be listed: {error.strerror}."
                ) from error
            yield prefix[:-1]
            continue
        if found is None:
            levels.pop()
            continue
        name, is_folder = found
        if behind == (name,):
            continue  # It was given; should it be a folder, it couldn't be listed then, and that is its outcome.
        if is_folder:
            path, within = prefix + name, behind[1:] if behind[:1] == (name,) else ()
            levels.append(
                (path + b"/", within, _sorted(os.path.join(folder, path), within, recursive, alive))
            )
        else:
            yield prefix + name


def _sorted(
    folder: bytes, behind: tuple[bytes, ...], recursive: bool, alive: Callable[[], object]
) -> Iterator[tuple[bytes, bool]]:
    """What a walk gives of a folder, or goes into: names, sorted, with whether each is a folder.

    A large folder is listed anew for every `PASS` names, so that no more of them are held (docs/decisions/0007).

    Raises:
        OSError: the folder can't be listed, or no longer.
    """
    first, more = behind[0] if behind else b"", True
    while more:
        names, folders, more = _smallest(folder, first, recursive, alive)
        for name in names:
            yield name, name in folders
        first = names[-1] + b"\0" if more else b""  # No name lies between.


def _smallest(
    folder: bytes, first: bytes, recursive: bool, alive: Callable[[], object]
) -> tuple[list[bytes], set[bytes], bool]:
    """The `PASS` smallest names from `first` on, those of them that are folders, and whether there are more."""
    names: list[bytes] = []
    folders: set[bytes] = set()
    last, more = b"\xff" * 256, False  # No name is so long.
    alive()
    with os.scandir(folder) as entries:
        while chunk := list(islice(entries, CHUNK)):
            alive()
            for entry in [entry for entry in chunk if first <= entry.name <= last]:
                if entry.is_dir(follow_symlinks=False):
                    if recursive:
                        names.append(entry.name)
                        folders.add(entry.name)
                elif is_image(entry.name) or (recursive and _is_linked_folder(entry)):
                    names.append(entry.name)
            if len(names) >= 2 * PASS:
                names, more = _first(names), True
                last = names[-1]
                folders.intersection_update(names)
    more = more or len(names) > PASS
    return _first(names), folders, more


def _first(names: list[bytes]) -> list[bytes]:
    """The `PASS` smallest; a name that is removed and made again while a folder is listed may be in it twice."""
    names.sort()
    return [name for name, _ in islice(groupby(names), PASS)]


def _is_linked_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # A loop of links.
        return True
