"""Uploaded archives, zip, tar and tar.gz: their files are unpacked into the upload.

Nothing is believed that an archive says of itself: its limits hold for what comes out. Whatever is
no plain file with a safe name is left out, and named. Links and devices are never created, because
only the bytes of files are taken.
"""

import gzip
import re
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Protocol

from models.errors import TooLargeError, UsageError
from models.sources.names import to_text
from models.sources.spool import Budget, FileTooLargeError, Limits, Part
from models.sources.upload_names import shorten

PIECE_BYTES: Final = 262_144
FREE_BYTES: Final = 10_000_000
"""That any archive may be unpacked to, whatever its own size."""
DIRECTORY_BYTES: Final = 512
"""For each file that a zip may have: its entry in the directory, which is read as a whole."""
HEADER_BYTES: Final = 8_192
"""Between two files of a tar. Python's tarfile reads what is said to be there into memory, and
looks through it in a time that grows with its square."""
HEADER_DIGITS: Final = 100
"""In a row. Looking through more takes Python 3.11.7 as long (CVE-2024-6232)."""
UNPACK_S: Final = 1_800.0
"""For an archive. Plain ones of 10 GB take minutes; some are made to take days."""
NAMED: Final = 200
"""Files left out that are named; the others are counted."""

_ZIP_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_START: Final = b"\x1f\x8b"
_NESTED: Final = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_DAMAGED: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
    RuntimeError,
)
"""What Python's readers raise over broken archives."""


@dataclass
class Unpacked:
    """What came out of an archive.

    Attributes:
        sizes: of the files that are in their place, in bytes, by path.
        skipped: the first of the others, each with `path` and `reason`.
        skipped_files: how many there are.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    skipped_files: int = 0


def unpack(archive: Path, folder: Path, limits: Limits) -> Unpacked:
    """Unpacks an archive into the folder of its upload.

    Raises:
        TooLargeError: it has more in it than the limits allow.
        UsageError: it is no archive, is damaged, or has no file that can be used.
        SpoolError: a file cannot be written.
    """
    target = _Target(folder, limits, archive.stat().st_size)
    try:
        with archive.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start in _ZIP_STARTS:
                _unpack_zip(file, target, limits)
            elif start.startswith(_GZIP_START):
                with gzip.GzipFile(fileobj=file) as content:
                    _unpack_tar(content, target)
            else:
                _unpack_tar(file, target)
    except _DAMAGED as error:
        raise UsageError(
            f"The archive cannot be unpacked: {_one_line(error)}. Expected a whole zip, tar or "
            "tar.gz."
        ) from None

    unpacked = target.unpacked
    if not unpacked.sizes:
        reasons = "; ".join(f"{file['path']}: {file['reason']}" for file in unpacked.skipped[:3])
        raise UsageError(f"The archive has no file that can be used. {reasons}".strip())
    return unpacked


class _Target:
    """Takes files and counts what comes out, whether it is kept or not."""

    def __init__(self, folder: Path, limits: Limits, archive_bytes: int) -> None:
        self.unpacked = Unpacked()
        self._folder = folder
        self._limits = limits
        self._most = limits.ratio * archive_bytes + FREE_BYTES
        self._budget = Budget(limits)
        self._until = time.monotonic() + UNPACK_S

    def count_file(self) -> None:
        self._budget.add_file()

    def count(self, size: int) -> None:
        """
        Raises:
            TooLargeError: the archive is a bomb, or simply too large.
        """
        self._budget.add_bytes(size)
        if time.monotonic() > self._until:
            raise TooLargeError(f"Unpacking the archive took more than {UNPACK_S:,.0f} s.")
        if self._budget.bytes > self._most:
            raise TooLargeError(
                f"The archive unpacks to more than {self._limits.ratio} times its size, the limit "
                "that CUEMILL_UPLOAD_RATIO sets."
            )

    def add(self, name: bytes, pieces: Iterator[bytes]) -> None:
        """Stores a file, or leaves it out if its name or its content cannot be used."""
        part = None
        try:
            # What is written has been counted on its way out of the archive.
            part = Part(self._folder, name, Budget(self._limits))
            for piece in pieces:
                part.write(piece)
            part.finish()
            self.unpacked.sizes[to_text(part.path)] = part.size
        except FileTooLargeError:
            self.skip(name, f"it has more than {self._limits.file_bytes:,} bytes")
        except (TooLargeError, *_DAMAGED):
            raise
        except UsageError as error:
            self.skip(name, str(error))
        finally:
            if part is not None:
                part.discard()

    def skip(self, name: bytes, reason: str) -> None:
        self.unpacked.skipped_files += 1
        if len(self.unpacked.skipped) < NAMED:
            self.unpacked.skipped.append({"path": shorten(name), "reason": reason})


def _unpack_zip(file: IO[bytes], target: _Target, limits: Limits) -> None:
    with zipfile.ZipFile(_Careful(file, limits.files)) as archive:
        for info in archive.infolist():
            target.count_file()
            name = _zip_name(info)
            if name.endswith((b"/", b"\\")):
                continue
            reason = _zip_reason(info, limits) or _nested(name)
            if reason:
                target.skip(name, reason)
                continue
            try:
                with archive.open(info) as content:
                    target.add(name, _pieces(content, target.count))
            except _DAMAGED as error:
                target.skip(name, f"it is damaged: {_one_line(error)}")


def _zip_name(info: zipfile.ZipInfo) -> bytes:
    """As it is in the archive. Many write UTF-8 without saying so; else it is code page 437."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        raw = name.encode("cp437")
        try:
            raw.decode()
        except UnicodeDecodeError:
            pass
        else:
            return raw
    return name.encode("utf-8", "surrogateescape")


def _zip_reason(info: zipfile.ZipInfo, limits: Limits) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "it is a link or a device"
    if info.flag_bits & 0x41:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is compressed by another method than deflate"
    if info.file_size > limits.file_bytes:
        return f"it has more than {limits.file_bytes:,} bytes"
    return None


def _unpack_tar(content: "_Readable", target: _Target) -> None:
    stream = _Forward(content, target.count)
    with tarfile.TarFile(fileobj=stream) as archive:  # type: ignore[arg-type]
        while (member := archive.next()) is not None:
            stream.header_left = None
            target.count_file()
            _take_member(archive, member, target)
            # These would grow with the archive.
            archive.members = []  # type: ignore[attr-defined]
            archive.pax_headers = {}
            stream.header_left = HEADER_BYTES

    # `next` also ends, without an error, at what is no header.
    if stream.last.strip(b"\0"):
        raise tarfile.ReadError("it has something else where a file should begin")


def _take_member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: _Target) -> None:
    name = member.name.encode("utf-8", "surrogateescape")
    if member.isdir():
        return

    reason = _nested(name)
    if not member.isreg():
        reason = "it is a link or a device"
    elif member.issparse():
        reason = "it is sparse"
    content = None if reason else archive.extractfile(member)
    if content is None:
        target.skip(name, reason or "it cannot be read")
    else:
        target.add(name, _pieces(content))


def _nested(name: bytes) -> str | None:
    is_archive = name.lower().endswith(tuple(ending.encode() for ending in _NESTED))
    return "archives in archives are not opened" if is_archive else None


def _pieces(
    content: "_Readable", count: Callable[[int], None] = lambda size: None
) -> Iterator[bytes]:
    while piece := content.read(PIECE_BYTES):
        count(len(piece))
        yield piece


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Careful:
    """The file of a zip, whose directory is not read if it is beyond what the limits need."""

    def __init__(self, file: IO[bytes], files: int) -> None:
        self._file = file
        self._files = files
        self._most = max(files * DIRECTORY_BYTES, 2**20)
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > self._most:
            raise self._too_many()
        data = self._file.read(self._most if size < 0 else size)
        if data.count(b"PK\x01\x02") > self._files:
            raise self._too_many()
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:
            raise zipfile.BadZipFile("a file begins before the archive")
        return self._file.seek(offset, whence)

    def _too_many(self) -> TooLargeError:
        return TooLargeError(
            f"The archive has more than {self._files:,} files, the limit that CUEMILL_UPLOAD_FILES "
            "sets, or very long names."
        )


class _Forward:
    """The content of a tar, read once from its start to its end.

    Attributes:
        header_left: what may be read until the next file begins; None = anything.
        last: what was read last.
    """

    def __init__(self, content: _Readable, count: Callable[[int], None]) -> None:
        self.header_left: int | None = HEADER_BYTES
        self.last = b""
        self._content = content
        self._count = count
        self._position = 0

    def read(self, size: int) -> bytes:
        if self.header_left is not None:
            self.header_left -= size
            if self.header_left < 0:
                raise tarfile.ReadError(f"a file's header has more than {HEADER_BYTES:,} bytes")

        self.last = self._content.read(size)
        self._position += len(self.last)
        self._count(len(self.last))

        if self.header_left is not None:
            numbers = re.findall(rb"[0-9]+", self.last)
            if max(map(len, numbers), default=0) > HEADER_DIGITS:
                raise tarfile.ReadError(
                    f"a header has a number of more than {HEADER_DIGITS} digits"
                )
        return self.last

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a file begins before the end of another")

        left = position - self._position
        while left:
            piece = self._content.read(min(left, PIECE_BYTES))
            if not piece:
                raise tarfile.ReadError("it breaks off")
            left -= len(piece)
            self._position += len(piece)
            self._count(len(piece))
