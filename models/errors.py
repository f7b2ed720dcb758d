"""The errors that a user can act on, as one tree.

CuemillError
├── UsageError            the request itself is wrong: an invalid option, an unknown emotion
│   ├── NotFoundError     no such job or model
│   ├── CursorError       a cursor of another order of results
│   ├── IdempotencyError  an idempotency key that another request has used
│   ├── AddressError      a URL that webhooks must not be sent to, or whose name leads nowhere
│   ├── OutsideRootsError a folder that the API may not read
│   ├── TooLargeError     an upload beyond a limit
│   └── UploadUsedError   an upload that belongs to a job already
├── UnauthenticatedError  a request without a key that is good
├── ScopeError            a request whose key does not allow it
├── LimitError            a key's requests or jobs are used up for now
├── FolderError           a job's folder is missing, not a folder, or unreadable
├── SpoolError            uploads cannot be stored at present
│   └── SpoolFullError    there is no room for them
├── PlaceError            a drive, a mount or a host fails; the image is not to blame
├── PickleError           a model file that cannot be used
│   ├── PickleMissingError
│   ├── PickleCorruptError
│   ├── PickleTamperedError
│   ├── PickleVersionError
│   └── PickleHostileError
├── DataError             training data that cannot be used
├── DatabaseError         a database that is unreachable, full, or without this program's tables
│   ├── OutdatedError     tables that are newer than this program
│   └── RefusedError      rows that the database does not take, however often they are tried
├── PictureError          a picture that cannot be shown, at least not as it was classified
├── DeletedError          a job that was deleted while its results were read
├── QueueError            a queue that cannot be used
├── BusyError             something that does not answer in time; trying again may help
├── EngineError           an engine that is not installed or cannot run the network
└── ImageError            an image that cannot be classified; carries the outcome's code

Each class has a stable `code`, for the API's problem details and for rows in SQL.
"""

from enum import StrEnum
from typing import Final


class CuemillError(Exception):
    """The base class. The text says what happened, what was expected and what to do."""

    code = "error"


class UsageError(CuemillError):
    code = "usage"


class NotFoundError(UsageError):
    code = "not_found"


class CursorError(UsageError):
    code = "cursor_mismatch"


class IdempotencyError(UsageError):
    code = "idempotency_key_reused"


class AddressError(UsageError):
    code = "address"


class OutsideRootsError(UsageError):
    code = "outside_roots"


class TooLargeError(UsageError):
    code = "content_too_large"


class UploadUsedError(UsageError):
    code = "upload_used"


class UnauthenticatedError(CuemillError):
    code = "unauthenticated"


class ScopeError(CuemillError):
    code = "insufficient_scope"


class LimitError(CuemillError):
    """
    Args:
        retry_s: seconds after which trying again may help.
    """

    code = "limit_exceeded"

    def __init__(self, message: str, retry_s: int) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class FolderError(CuemillError):
    code = "folder"


class SpoolError(CuemillError):
    code = "spool"


class SpoolFullError(SpoolError):
    code = "spool_full"


class PlaceError(CuemillError):
    """Another try, later or on another host, may succeed.

    Args:
        message: a sentence for a person.
        image_code: recorded in the image's row if no try does.
    """

    code = "place"

    def __init__(self, message: str, image_code: "ImageCode") -> None:
        super().__init__(message)
        self.image_code = image_code


class PickleError(CuemillError):
    code = "pickle"


class PickleMissingError(PickleError):
    code = "pickle_missing"


class PickleCorruptError(PickleError):
    code = "pickle_corrupt"


class PickleTamperedError(PickleError):
    code = "pickle_tampered"


class PickleVersionError(PickleError):
    code = "pickle_version"


class PickleHostileError(PickleError):
    code = "pickle_hostile"


class DataError(CuemillError):
    code = "data"


class DatabaseError(CuemillError):
    """A database that cannot be used.

    Args:
        message: for the database's owner; may name its URL.
        public: the same for clients of the API, without the URL.
        passing: whether the same request may succeed later.
        sqlstate: PostgreSQL's code of the error.
    """

    code = "database"

    def __init__(
        self,
        message: str,
        *,
        public: str | None = None,
        passing: bool = True,
        sqlstate: str | None = None,
    ) -> None:
        super().__init__(message)
        self.public = public or message
        self.passing = passing
        self.sqlstate = sqlstate


class OutdatedError(DatabaseError):
    """The code is that of `DatabaseError`, as is that of `RefusedError`."""


class RefusedError(DatabaseError):
    pass


class PictureError(CuemillError):
    code = "picture"


class DeletedError(CuemillError):
    code = "deleted"


class QueueError(CuemillError):
    """A queue that cannot be used.

    Args:
        public: the same in our words alone; by default the message.
        passing: whether the same may succeed later, without a change of the settings.
    """

    code = "queue"

    def __init__(self, message: str, *, public: str | None = None, passing: bool = True) -> None:
        super().__init__(message)
        self.public = public or message
        self.passing = passing


class BusyError(CuemillError):
    code = "busy"


class EngineError(CuemillError):
    code = "engine"


class ImageCode(StrEnum):
    """Why an image has no scores, or not all, as recorded in `images`.

    Codes are never renamed or removed.
    """

    # Unreadable, because the file cannot be read (models/sources/read.py) ...
    VANISHED = "vanished"
    LINKED_FOLDER = "linked_folder"
    FOLDER_UNREADABLE = "folder_unreadable"
    OUTSIDE_FOLDER = "outside_folder"
    LINK_LOOP = "link_loop"
    NOT_A_FILE = "not_a_file"
    PERMISSION_DENIED = "permission_denied"
    TOO_LARGE = "too_large"
    READ_ERROR = "read_error"
    READ_TIMEOUT = "read_timeout"
    # ... or cannot be decoded (models/pictures/decode.py).
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    # Failed, because of the network or the worker (worker/pipeline.py, models/store/recovery.py).
    NOT_FINITE = "not_finite"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_DIED = "worker_died"
    # Failed, because the database refuses the image's row (models/store/records.py).
    NOT_RECORDED = "not_recorded"
    # Classified, but for the faces beyond the limit (worker/pipeline.py).
    TOO_MANY_FACES = "too_many_faces"


PLACE_CODES: Final = (ImageCode.READ_ERROR, ImageCode.READ_TIMEOUT, ImageCode.OUT_OF_MEMORY)
"""Of images that a drive, a mount or a host kept from being classified, in all tries."""


class ImageError(CuemillError):
    """An image that cannot be classified.

    Args:
        code: recorded in the image's row.
        message: a sentence for a person, without any of the image's content.
    """

    def __init__(self, code: ImageCode, message: str) -> None:
        super().__init__(message)
        self.code = code.value
