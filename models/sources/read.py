"""The bytes of one image, opened so that no link leads out of its folder and no device hangs the worker."""

import errno
import os
import stat
from typing import Final

from models.errors import ImageCode, ImageError
from models.sources.roots import contains

MAX_BYTES: Final = 100_000_000

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
                ImageCode.TOO_LARGE,
                f"The file has {status.st_size:,} bytes; at most {MAX_BYTES:,} are read.",
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
        raise ImageError(
            ImageCode.READ_ERROR, f"The file can't be read: {error.strerror}."
        ) from None
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
        if os.readlink(b"/proc/self/fd/%d" % descriptor) == path and not stat.S_ISDIR(
            os.fstat(descriptor).st_mode
        ):
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
        if not contains(folder, real):
            raise ImageError(
                ImageCode.OUTSIDE_FOLDER, "It is a link that leads out of the job's folder."
            )
        return os.open(real, _FLAGS)
    except OSError as error:
        raise _explain(error) from None


def _folder_in_place_of_image(path: bytes) -> ImageError:
    if os.path.islink(path):
        return ImageError(
            ImageCode.LINKED_FOLDER, "It is a link to a folder; such links aren't followed."
        )
    return ImageError(
        ImageCode.FOLDER_UNREADABLE, "The folder couldn't be listed when the job looked for images."
    )


def _explain(error: OSError) -> ImageError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return ImageError(
                ImageCode.VANISHED, "The file isn't there any more, or is a link to nothing."
            )
        case errno.ELOOP:
            return ImageError(ImageCode.LINK_LOOP, "It is a link that leads in a circle.")
        case errno.EACCES | errno.EPERM:
            return ImageError(
                ImageCode.PERMISSION_DENIED, "The worker's user may not read the file."
            )
        case errno.ENXIO:
            return ImageError(ImageCode.NOT_A_FILE, "It is a device, pipe or socket, not a file.")
    return ImageError(ImageCode.READ_ERROR, f"The file can't be opened: {error.strerror}.")
