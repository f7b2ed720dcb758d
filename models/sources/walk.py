"""Walks a folder of any size in a stable order, with flat memory."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice

from models.errors import FolderError
from models.sources.exclusions import Exclusions
from models.sources.names import is_image, kind_of, to_text
from models.sources.read import PLACE_ERRORS

PASS = 100_000
"""Names of a folder that a walk holds at a time; up to twice as many while it lists the folder."""

CHUNK = 4_096
"""Directory entries read between two calls of `alive`."""


@dataclass(frozen=True)
class Passing:
    """What a walk passes over, and how much it has.

    Attributes:
        counts: by kind or pattern. They include all of a folder, once, before its first path, so
            that they can be kept together with the path to resume after.
    """

    exclusions: Exclusions = field(default_factory=Exclusions)
    counts: Counter[str] = field(default_factory=Counter)


def walk(
    folder: bytes,
    recursive: bool,
    after: bytes | None = None,
    alive: Callable[[], object] = lambda: None,
    *,
    wait: bool = False,
    passing: Passing | None = None,
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
        passing: says what is passed over, and counts it.

    Raises:
        FolderError: the folder itself cannot be listed; with `wait`, also one below it.
    """
    resume_after = tuple(after.split(b"/")) if after else ()
    listing = _Listing(folder, recursive, alive, passing or Passing())

    # A stack of open folders instead of recursion: paths can nest deeper than Python's stack.
    levels = [(b"", resume_after, listing.sorted_entries(b"", resume_after))]
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

        inner_prefix = prefix + name + b"/"
        inner_resume = resume_after[1:] if resume_after[:1] == (name,) else ()
        entries = listing.sorted_entries(inner_prefix, inner_resume)
        levels.append((inner_prefix, inner_resume, entries))


def pick(names: Sequence[bytes], after: bytes | None = None) -> Iterator[bytes]:
    """Yields these files of a folder in the order of a walk, each once, without listing the folder.

    Args:
        names: whatever they end in; nothing says that they exist.
        after: resume after this name, as in `walk`.
    """
    for name in sorted(set(names)):
        if after is None or name > after:
            yield name


@dataclass(frozen=True)
class _Listing:
    """How the folders of a walk are listed."""

    root: bytes
    recursive: bool
    alive: Callable[[], object]
    passing: Passing

    def sorted_entries(
        self, prefix: bytes, resume_after: tuple[bytes, ...]
    ) -> Iterator[tuple[bytes, bool]]:
        """Yields a folder's images and subfolders, sorted, each with whether it is a folder.

        A large folder is listed again for every `PASS` names, so that no more of them are held
        (docs/decisions/0007).

        Raises:
            OSError: the folder cannot be listed, or no longer.
        """
        first = resume_after[0] if resume_after else b""
        # What is passed over was counted before the walk came to what it resumes after.
        is_counting = not resume_after
        has_more = True
        while has_more:
            names, folders, has_more = self._list_smallest(prefix, first, is_counting)
            is_counting = False
            for name in names:
                yield name, name in folders
            if has_more:
                first = names[-1] + b"\0"  # The next name that is possible.

    def _list_smallest(
        self, prefix: bytes, first: bytes, is_counting: bool
    ) -> tuple[list[bytes], set[bytes], bool]:
        """Lists a folder's `PASS` smallest names that are not below `first`.

        Returns:
            The names, those of them that are folders, and whether the folder has more.
        """
        names: list[bytes] = []
        folders: set[bytes] = set()
        last = b"\xff" * 256  # Longer than any name.
        has_more = False

        self.alive()
        folder = os.path.join(self.root, prefix[:-1]) if prefix else self.root
        with os.scandir(folder) as entries:
            while chunk := list(islice(entries, CHUNK)):
                self.alive()
                for entry in chunk:
                    is_due = first <= entry.name <= last
                    if not (is_due or is_counting):
                        continue

                    kind = self._passed_over_as(prefix, entry)
                    if kind is not None:
                        self.passing.counts[kind] += is_counting
                    elif is_due and not entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
                    elif is_due and self.recursive:
                        names.append(entry.name)
                        folders.add(entry.name)

                if len(names) >= 2 * PASS:
                    names = _smallest(names)
                    folders.intersection_update(names)
                    last = names[-1]
                    has_more = True

        has_more = has_more or len(names) > PASS
        return _smallest(names), folders, has_more

    def _passed_over_as(self, prefix: bytes, entry: os.DirEntry[bytes]) -> str | None:
        """The kind or pattern that an entry is counted as; None if it is not passed over."""
        pattern = self.passing.exclusions.match(prefix, entry.name)
        if pattern is not None:
            return pattern
        if is_image(entry.name) or entry.is_dir(follow_symlinks=False):
            return None
        if self.recursive and _is_linked_folder(entry):
            return None
        return kind_of(entry.name)


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
