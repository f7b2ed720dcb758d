"""Paths are hostile, and names are bytes: how they are written down, walked and opened."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

from models.errors import DataError, FolderError, ImageCode, ImageError, OutsideRootsError
from models.images import MAX_BYTES, SUFFIXES
from models.sources import parse

PASS = 100_000
"""Names of a folder that a walk holds at a time; up to twice as many while it looks for them."""
CHUNK = 4_096

_ENDINGS = tuple(os.fsencode(suffix) for suffix in SUFFIXES)
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def to_text(name: bytes) -> str:
    r"""A path as text that any database takes; bytes that are no UTF-8 become `\xNN`, a backslash `\\`."""
    text = os.fsdecode(name).replace("\\", "\\\\")
    return re.sub("[\udc80-\udcff]", lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", text)


def to_bytes(text: str) -> bytes:
    """The inverse of `to_text`."""
    return os.fsencode(_ESCAPE.sub(lambda m: chr(0xDC00 + int(m[1], 16)) if m[1] else "\\", text))


def check_folder(folder: str | bytes | Path, roots: Sequence[Path] | None = None) -> bytes:
    """The folder's real, absolute path, as bytes.

    Args:
        roots: when given, the folder must lie in one of them, links resolved.

    Raises:
        OutsideRootsError: as it says. It is the same sentence whether or not the folder exists.
        FolderError: missing, not a folder, or not readable.
    """
    name = os.fsencode(folder)
    real, shown = os.path.realpath(name) if roots is None else _within(name, roots), to_text(name)
    if not os.path.exists(real):
        raise FolderError(f"{shown} doesn't exist.")
    if not os.path.isdir(real):
        raise FolderError(f"{shown} is a file, not a folder. Name the folder that holds the images.")
    try:
        os.scandir(real).close()
    except OSError as error:
        raise FolderError(f"{shown} can't be read by this user ({os.geteuid()}): {error.strerror}.") from None
    return real


def check_source(text: str, roots: Sequence[Path]) -> str:
    """A source of training data, `PATH[,option...]`, with its path made real; it must lie in one of the roots.

    Raises:
        OutsideRootsError: as it says. It is the same sentence whether or not the path exists.
        DataError: it is missing, or has an option that it doesn't know.
    """
    source = parse(text)
    real = _within(os.fsencode(source.path), roots)
    if not os.path.exists(real):
        raise DataError(f"{to_text(os.fsencode(source.path))} doesn't exist.")
    return ",".join((os.fsdecode(real), *source.options))


def _within(path: bytes, roots: Sequence[Path]) -> bytes:
    """The real path, if it lies in one of the roots."""
    real = os.path.realpath(path)
    if not any(_contains(os.path.realpath(os.fsencode(root)), real) for root in roots):
        raise OutsideRootsError(
            f"{to_text(path)} is outside the folders that the API may read. Add its root to CUEMILL_IMAGE_ROOTS "
            f"(now: {os.pathsep.join(map(str, roots)) or 'none'}) and start again."
        )
    return real


def _contains(root: bytes, path: bytes) -> bool:
    return os.path.commonpath([root, path]) == root


def walk(
    folder: bytes, recursive: bool, after: bytes | None = None, alive: Callable[[], object] = lambda: None
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
    levels = [(b"", behind, _sorted(folder, behind, recursive, alive))]  # No recursion: paths nest deeper than Python.
    while levels:
        prefix, behind, names = levels[-1]
        try:
            found = next(names, None)
        except OSError as error:
            levels.pop()
            if not levels:
                raise FolderError(f"{to_text(folder)} can't be listed: {error.strerror}.") from error
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
            levels.append((path + b"/", within, _sorted(os.path.join(folder, path), within, recursive, alive)))
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
                elif _is_image(entry.name) or (recursive and _is_linked_folder(entry)):
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


def _is_image(name: bytes) -> bool:
    return not name.startswith(b".") and name.lower().endswith(_ENDINGS)


def _is_linked_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # A loop of links.
        return True


def read_image(folder: bytes, path: bytes) -> tuple[bytes, os.stat_result | None]:
    """The bytes of an image below a folder, and what the file was before they were read; None in place of a link.

    Links are resolved, but never out of the folder; devices are not opened.

    Raises:
        ImageError: `vanished`, `linked_folder`, `folder_unreadable`, `outside_folder`, `link_loop`,
            `not_a_file`, `permission_denied`, `too_large` or `read_error`.
    """
    full = os.path.join(folder, path)
    descriptor = _open_unlinked(full)
    if linked := descriptor is None:
        descriptor = _open_resolved(folder, full)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(ImageCode.NOT_A_FILE, "It is a device, pipe or socket, not a file.")
        if status.st_size > MAX_BYTES:
            raise ImageError(
                ImageCode.TOO_LARGE, f"The file has {status.st_size:,} bytes; at most {MAX_BYTES:,} are read."
            )
        return _read(descriptor, status.st_size), None if linked else status
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    """So many bytes; fewer if the file has become shorter."""
    try:
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
    except OSError as error:
        raise ImageError(ImageCode.READ_ERROR, f"The file can't be read: {error.strerror}.") from None
    return data


def _open_unlinked(path: bytes) -> int | None:
    """Opens a file that is reached without any link, as nearly all are; None if it isn't, or that can't be told.

    Where the open file really lies, the kernel says: nobody can change that between a check and the opening.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        if os.readlink(b"/proc/self/fd/%d" % descriptor) == path and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _open_resolved(folder: bytes, path: bytes) -> int:
    """Opens what a path leads to, if that lies in the folder."""
    try:
        real = os.path.realpath(path, strict=True)
        if os.path.isdir(real):
            raise _folder_in_place_of_image(path)
        if not _contains(folder, real):
            raise ImageError(ImageCode.OUTSIDE_FOLDER, "It is a link that leads out of the job's folder.")
        return os.open(real, _FLAGS)
    except OSError as error:
        raise _explain(error) from None


def _folder_in_place_of_image(path: bytes) -> ImageError:
    if os.path.islink(path):
        return ImageError(ImageCode.LINKED_FOLDER, "It is a link to a folder; such links aren't followed.")
    return ImageError(ImageCode.FOLDER_UNREADABLE, "The folder couldn't be listed when the job looked for images.")


def _explain(error: OSError) -> ImageError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return ImageError(ImageCode.VANISHED, "The file isn't there any more, or is a link to nothing.")
        case errno.ELOOP:
            return ImageError(ImageCode.LINK_LOOP, "It is a link that leads in a circle.")
        case errno.EACCES | errno.EPERM:
            return ImageError(ImageCode.PERMISSION_DENIED, "The worker's user may not read the file.")
        case errno.ENXIO:
            return ImageError(ImageCode.NOT_A_FILE, "It is a device, pipe or socket, not a file.")
    return ImageError(ImageCode.READ_ERROR, f"The file can't be opened: {error.strerror}.")
