"""Everything that can go wrong and that a user can act on: one tree.

CuemillError
├── UsageError            the request itself is wrong: bad option, unknown emotion
│   ├── NotFoundError     no such job or model
│   ├── IdempotencyError  a key that was used for another request
│   └── OutsideRootsError a folder that the API may not read
├── FolderError           a job's folder vanished, is not a folder, or can't be read
├── PickleError           a model file that can't be used
│   ├── PickleMissingError, PickleCorruptError, PickleTamperedError, PickleVersionError, PickleHostileError
├── DataError             training data that can't be trained on
├── DatabaseError         the database can't be reached, is full, or is newer than this program
├── QueueError            the queue can't be used
├── EngineError           an inference engine that isn't installed or can't run the network
└── ImageError            one image that can't be classified; carries the outcome's stable code

Each has a stable `code`, used by the API's problem details and by the rows in SQL.
"""

from enum import StrEnum


class CuemillError(Exception):
    """Base of all; its text names the thing, the reason and the remedy."""

    code = "error"


class UsageError(CuemillError):
    code = "usage"


class NotFoundError(UsageError):
    code = "not_found"


class IdempotencyError(UsageError):
    code = "idempotency_key_reused"


class OutsideRootsError(UsageError):
    code = "outside_roots"


class FolderError(CuemillError):
    code = "folder"


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
    code = "database"


class QueueError(CuemillError):
    code = "queue"


class EngineError(CuemillError):
    code = "engine"


class ImageCode(StrEnum):
    """Why an image has no scores: every code that a row of `images` may have. None is ever renamed or given up."""

    # Unreadable: no bytes (models/sources/read.py) ...
    VANISHED = "vanished"
    LINKED_FOLDER = "linked_folder"
    FOLDER_UNREADABLE = "folder_unreadable"
    OUTSIDE_FOLDER = "outside_folder"
    LINK_LOOP = "link_loop"
    NOT_A_FILE = "not_a_file"
    PERMISSION_DENIED = "permission_denied"
    TOO_LARGE = "too_large"
    READ_ERROR = "read_error"
    # ... or no picture (models/pictures/decode.py).
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    # Failed: the network, or the worker with it (worker/pipeline.py, models/store/batches.py).
    NOT_FINITE = "not_finite"
    WORKER_DIED = "worker_died"


class ImageError(CuemillError):
    """One image that can't be classified.

    Args:
        code: stored with the image's row.
        message: one sentence for a person; it never holds the image's content.
    """

    def __init__(self, code: ImageCode, message: str) -> None:
        super().__init__(message)
        self.code = code.value
