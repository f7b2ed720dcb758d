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
├── EngineError           an inference engine that isn't installed or can't run the network
└── ImageError            one image that can't be classified; carries the outcome's stable code

Each has a stable `code`, used by the API's problem details and by the rows in SQL.
"""


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


class EngineError(CuemillError):
    code = "engine"


class ImageError(CuemillError):
    """One image that can't be classified.

    Args:
        code: a stable word, stored with the image's row, such as `truncated`.
        message: one sentence for a person; it never holds the image's content.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
