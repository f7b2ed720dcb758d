"""Forms with files, `multipart/form-data`, which are written to the spool as they arrive.

FastAPI's own forms are not used: they spool every file in the system's temporary folder first, and
know no limits.
"""

import hashlib
from pathlib import Path
from typing import Final

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.schemas.jobs import JobOptions
from models.errors import TooLargeError, UsageError
from models.sources.names import to_text
from models.sources.spool import Budget, Limits, Part

JOB_BYTES: Final = 65_536
"""Of the part `job`, as of a body in JSON."""
PART_HEAD_BYTES: Final = 8_192
"""What the form may have besides each file: boundaries and headers."""
ARCHIVE_NAME: Final = b"archive"

_SHAPE: Final = (
    "Expected parts `files`, each with its relative path as filename, or one part `archive`, and "
    "perhaps a part `job`, in JSON."
)


class Form:
    """A form that arrives.

    Args:
        folder: of the upload.

    Attributes:
        options: what the part `job` says.
        sizes: of the files that are in their place, in bytes, by path.
        archive: the file of the archive, if there is one, whole once the form is.

    Raises:
        UsageError: the media type has no boundary.
    """

    def __init__(self, content_type: str, folder: Path, limits: Limits) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise UsageError("The Content-Type has no boundary. Expected multipart/form-data.")

        self.options = JobOptions()
        self.sizes: dict[str, int] = {}
        self.archive: Path | None = None
        self._folder = folder
        self._limits = limits
        self._budget = Budget(limits)
        self._digest = hashlib.sha256()
        self._is_whole = False
        self._most = limits.bytes + (limits.files + 1) * PART_HEAD_BYTES + JOB_BYTES

        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._name = b""
        self._job: bytearray | None = None
        self._part: Part | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_field,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except MultipartParseError as error:
            raise UsageError(f"The form cannot be read: {error}. {_SHAPE}") from None

    @property
    def digest(self) -> str:
        """Of the files, whose names and contents make two forms different."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """
        Raises:
            RequestValidationError: the part `job` is invalid.
            TooLargeError: there is more than the limits allow.
            UsageError: the form cannot be read, or a name cannot be used.
            SpoolError: a file cannot be written.
        """
        # There may be anything before the first part and after the last.
        self._most -= len(piece)
        if self._most < 0:
            raise TooLargeError("The form is larger than the limits of uploads allow.")
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise UsageError(f"The form cannot be read: {error}. {_SHAPE}") from None

    def finish(self) -> None:
        """
        Raises:
            UsageError: the form has no end, or no file.
        """
        if not self._is_whole:
            raise UsageError(f"The form breaks off before its end. {_SHAPE}")
        if not self.sizes and self.archive is None:
            raise UsageError(f"The form has no file. {_SHAPE}")

    def discard(self) -> None:
        """Removes the file that was arriving, if any was."""
        if self._part is not None:
            self._part.discard()

    def _begin_part(self) -> None:
        self._headers = {}
        self._header = [b"", b""]

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _end_headers(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        options = parse_options_header(disposition)[1]
        self._name = options.get(b"name", b"")
        file_name = options.get(b"filename", b"")

        if self._name == b"job" and self._job is None:
            self._job = bytearray()
        elif self._name == b"files" and file_name and self.archive is None:
            self._budget.add_file()
            self._part = Part(self._folder, file_name, self._budget)
            self._digest.update(b"%d:%s" % (len(self._part.path), self._part.path))
        elif self._name == b"archive" and self.archive is None and not self.sizes:
            self._part = Part(self._folder, ARCHIVE_NAME, self._budget, self._limits.bytes)
            self.archive = self._part.file
        else:
            shown = to_text(self._name[:100])
            raise UsageError(f"The form's part {shown!r} has no place there. {_SHAPE}")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._part is not None:
            self._part.write(piece)
            self._digest.update(piece)
        elif self._job is not None:
            self._job += piece
            if len(self._job) > JOB_BYTES:
                raise UsageError(f"The form's part `job` has more than {JOB_BYTES:,} bytes.")

    def _end_part(self) -> None:
        if self._part is None:
            self.options = _parse(bytes(self._job or b""))
            return

        self._digest.update(b":%d;" % self._part.size)
        if self._name == b"archive":
            self._part.close()
        else:
            self._part.finish()
            self.sizes[to_text(self._part.path)] = self._part.size
        self._part = None

    def _end(self) -> None:
        self._is_whole = True


def _parse(job: bytes) -> JobOptions:
    try:
        return JobOptions.model_validate_json(job)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise RequestValidationError(
            [{**detail, "loc": ("body", "job", *detail["loc"])} for detail in details]
        ) from None
