"""The spool: a folder for each upload, which is then the folder of its job.

A file is written below `parts`, flushed to disk and then renamed to its place below `files`. So
`files` has nothing but whole files, whatever is cut off.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from models.errors import SpoolError, SpoolFullError, TooLargeError, UsageError
from models.settings import Settings
from models.sources.names import to_text
from models.sources.upload_names import make_safe, shorten

FILES: Final = "files"
PARTS: Final = "parts"
KEEP_FREE_BYTES: Final = 200_000_000
"""Of the spool's disk, on which the database may be too."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME_ERRORS: Final = (
    errno.ENAMETOOLONG,
    errno.EILSEQ,
    errno.EINVAL,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
)


@dataclass(frozen=True)
class Limits:
    """What an upload may hold; `ratio` is that of an archive's content to its own size."""

    files: int
    file_bytes: int
    bytes: int
    ratio: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            settings.upload_files,
            settings.upload_file_bytes,
            settings.upload_bytes,
            settings.upload_ratio,
        )


@dataclass
class Budget:
    """What an upload has used of its limits. It is charged before anything is written."""

    limits: Limits
    files: int = 0
    bytes: int = 0

    def add_file(self) -> None:
        """
        Raises:
            TooLargeError: there are too many files.
        """
        self.files += 1
        if self.files > self.limits.files:
            raise TooLargeError(
                f"The upload has more than {self.limits.files:,} files. Upload it in parts, or "
                "raise CUEMILL_UPLOAD_FILES."
            )

    def add_bytes(self, count: int) -> None:
        """
        Raises:
            TooLargeError: there are too many bytes.
        """
        self.bytes += count
        if self.bytes > self.limits.bytes:
            raise TooLargeError(
                f"The upload has more than {self.limits.bytes:,} bytes. Upload it in parts, or "
                "raise CUEMILL_UPLOAD_BYTES."
            )


class FileTooLargeError(TooLargeError):
    """One file beyond the limit for files."""


class Part:
    """A file that is arriving. It is nowhere until `finish` puts it in its place.

    Args:
        folder: of the upload.
        name: as it was sent; made safe.
        most: bytes that it may have.

    Attributes:
        path: below the upload's files, made safe.
        size: bytes so far.

    Raises:
        UsageError: the name cannot be used.
        SpoolError: the file cannot be written.
    """

    def __init__(self, folder: Path, name: bytes, budget: Budget, most: int | None = None) -> None:
        self.path = make_safe(name)
        self.size = 0
        self._folder = folder
        self._budget = budget
        self._most = budget.limits.file_bytes if most is None else most
        self.file = folder / PARTS / secrets.token_hex(8)

        with _storing(self.path):
            check_room(folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.file, flags, 0o600)
        self._is_open = True

    def write(self, data: bytes) -> None:
        """
        Raises:
            TooLargeError: the file, or the upload, is larger than its limit.
            SpoolError: it cannot be written.
        """
        self.size += len(data)
        if self.size > self._most:
            raise FileTooLargeError(
                f"{shorten(self.path)} has more than {self._most:,} bytes, the limit of a file "
                "(CUEMILL_UPLOAD_FILE_BYTES)."
            )
        self._budget.add_bytes(len(data))

        with _storing(self.path):
            check_room(self._folder)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Flushes the file to disk, without putting it in its place.

        Raises:
            SpoolError: it cannot be written.
        """
        with _storing(self.path):
            os.fsync(self._descriptor)
        self._close()

    def finish(self, *, replace: bool = False) -> None:
        """Flushes the file to disk and puts it in its place.

        Args:
            replace: a file of the same name, if there is one.

        Raises:
            UsageError: another file has this name, or one that differs in capitals only where the
                file system takes both for the same.
            SpoolError: it cannot be written.
        """
        self.close()
        with _storing(self.path):
            *parents, name = self.path.split(b"/")
            parent = os.fsencode(self._folder / FILES)
            for parent_name in parents:
                parent = os.path.join(parent, parent_name)
                with suppress(FileExistsError):
                    os.mkdir(parent, 0o700)

            place = os.path.join(parent, name)
            if os.path.lexists(place):
                if name not in os.listdir(parent):
                    raise UsageError(
                        f"{shorten(self.path)} and another file have the same name but for "
                        "capitals or accents, which the spool's file system does not tell apart."
                    )
                if not replace:
                    raise UsageError(f"There are two files of the name {shorten(self.path)}.")
            os.replace(self.file, place)

    def discard(self) -> None:
        """Removes what has arrived, unless it is in its place."""
        self._close()
        with suppress(OSError):
            self.file.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(OSError):
                os.close(self._descriptor)


def create(folder: Path) -> None:
    """Creates the folder of an upload, for its user alone, or what a killed program left undone.

    Raises:
        SpoolError: it cannot be written.
    """
    with _storing():
        check_room(folder.parent)
        for needed in (folder, folder / FILES, folder / PARTS):
            needed.mkdir(mode=0o700, exist_ok=True)


def prepare(spool: Path) -> None:
    """Creates the spool if there is none yet.

    Raises:
        SpoolError: it cannot be created.
    """
    with _storing():
        if not spool.is_dir():
            spool.parent.mkdir(parents=True, exist_ok=True)
            spool.mkdir(mode=0o700, exist_ok=True)


def remove_file(folder: Path, path: bytes) -> None:
    """Removes a file of an upload."""
    with suppress(OSError):
        os.unlink(os.path.join(os.fsencode(folder / FILES), path))


def remove(folder: Path, until: float) -> bool:
    """Removes the folder of an upload with all its files.

    Args:
        until: when to stop, on the monotonic clock.

    Returns:
        Whether it is gone; if not, another call continues.

    Raises:
        OSError: a file cannot be removed.
    """
    for parent, folders, files in os.walk(os.fsencode(folder), topdown=False, onerror=_raise):
        for name in files:
            if time.monotonic() > until:
                return False
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(parent, name))
        for name in folders:
            path = os.path.join(parent, name)
            with suppress(FileNotFoundError):
                # `os.walk` names a link to a folder among the folders.
                (os.unlink if os.path.islink(path) else os.rmdir)(path)

    with suppress(FileNotFoundError):
        folder.rmdir()
    return True


def check_room(folder: Path) -> None:
    """
    Raises:
        SpoolFullError: little of the disk is left.
    """
    if shutil.disk_usage(folder).free < KEEP_FREE_BYTES:
        raise SpoolFullError(
            "The disk of uploads is full. Free some space there, delete jobs whose pictures were "
            "uploaded, or set CUEMILL_SPOOL to a folder on another disk."
        )


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _storing(path: bytes = b"") -> Iterator[None]:
    """Explains an error of the file system."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise SpoolFullError(
                f"The disk of uploads is full: {error.strerror}. Free some space there."
            ) from None
        if path and error.errno in _NAME_ERRORS:
            raise UsageError(
                f"{shorten(path)} cannot be stored under this name: {error.strerror}."
            ) from None
        where = to_text(os.fsencode(os.path.dirname(error.filename or "") or "the spool"))
        raise SpoolError(
            f"Uploads cannot be stored in {where}: {error.strerror}. Check CUEMILL_SPOOL."
        ) from None
