"""Reads one image file: never through a link out of its folder, never from a device that blocks."""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from models.errors import ImageCode, ImageError, PlaceError
from models.sources.roots import contains

MAX_BYTES: Final = 100_000_000
CHUNK_BYTES: Final = 2**20
"""Read at a time, so that a slow drive can be told from one that hangs."""

PLACE_ERRORS: Final = frozenset(
    {
        errno.EIO,
        errno.ENODEV,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EREMOTEIO,
        errno.ENFILE,
        errno.EMFILE,
        errno.ENOMEM,
    }
)
"""What the system says when a drive, a mount or the host fails, not the file."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_image(
    folder: bytes, path: bytes, alive: Callable[[], object] = lambda: None
) -> tuple[bytes, os.stat_result | None]:
    """Reads an image below a folder.

    Links are resolved, but not out of the folder. Devices are not opened.

    Args:
        alive: called after each part that was read.

    Returns:
        The file's bytes, and its status before they were read; None instead of a link's status.

    Raises:
        ImageError: `vanished`, `linked_folder`, `folder_unreadable`, `outside_folder`, `link_loop`,
            `not_a_file`, `permission_denied`, `too_large` or `read_error`.
        PlaceError: the drive, the mount or the host fails.
    """
    full_path = os.path.join(folder, path)
    descriptor = _open_unlinked(full_path)
    is_linked = descriptor is None
    if descriptor is None:
        descriptor = _open_resolved(folder, full_path)

    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file()

        if status.st_size > MAX_BYTES:
            raise ImageError(
                ImageCode.TOO_LARGE,
                f"The file has {status.st_size:,} bytes; the limit is {MAX_BYTES:,}.",
            )

        return _read(descriptor, status.st_size, alive), None if is_linked else status
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int, alive: Callable[[], object]) -> bytes:
    """Reads `size` bytes, or fewer if the file has become shorter."""
    parts = []
    left = size
    try:
        while left:
            part = os.read(descriptor, min(left, CHUNK_BYTES))
            alive()
            if not part:
                break
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise _fail("read", error) from None
    return b"".join(parts)


def _open_unlinked(path: bytes) -> int | None:
    """Opens a file whose path contains no link, as nearly all do; None for any other.

    The path is compared with the one that the kernel reports for the open file, so nobody can
    change it between a check and the opening.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return None

    try:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if os.readlink(b"/proc/self/fd/%d" % descriptor) == path and not is_folder:
            return descriptor
    except OSError:
        pass

    os.close(descriptor)
    return None


def _open_resolved(folder: bytes, path: bytes) -> int:
    """Opens the file that a path leads to, if it is inside the folder."""
    try:
        real_path = os.path.realpath(path, strict=True)
        if os.path.isdir(real_path):
            raise _folder_instead_of_image(path)

        if not contains(folder, real_path):
            raise ImageError(ImageCode.OUTSIDE_FOLDER, "The link leads out of the job's folder.")
        return os.open(real_path, _FLAGS)
    except OSError as error:
        raise _explain(error) from None


def _folder_instead_of_image(path: bytes) -> ImageError:
    if os.path.islink(path):
        return ImageError(
            ImageCode.LINKED_FOLDER, "The link leads to a folder; such links are not followed."
        )
    return ImageError(
        ImageCode.FOLDER_UNREADABLE, "The folder could not be listed during the job's scan."
    )


def _not_a_file() -> ImageError:
    return ImageError(ImageCode.NOT_A_FILE, "The path is a device, pipe or socket, not a file.")


def _explain(error: OSError) -> ImageError | PlaceError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return ImageError(
                ImageCode.VANISHED, "The file no longer exists, or is a link to a missing file."
            )
        case errno.ELOOP:
            return ImageError(ImageCode.LINK_LOOP, "The link leads back to itself.")
        case errno.EACCES | errno.EPERM:
            return ImageError(
                ImageCode.PERMISSION_DENIED, "The worker's user may not read the file."
            )
        case errno.ENXIO:
            return _not_a_file()
    return _fail("opened", error)


def _fail(verb: str, error: OSError) -> ImageError | PlaceError:
    message = f"The file cannot be {verb}: {error.strerror}."
    if error.errno in PLACE_ERRORS:
        return PlaceError(message, ImageCode.READ_ERROR)
    return ImageError(ImageCode.READ_ERROR, message)
