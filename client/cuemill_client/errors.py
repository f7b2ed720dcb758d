"""Errors of the client.

ClientError
├── ConnectionFailedError    the server cannot be reached, or breaks off
├── InvalidAnswerError       the answer is not one of Cuemill's API
├── ApiError                 the server refuses: RFC 9457 problem details, with a stable `code`
│   ├── InvalidRequestError      400, 413, 415, 422
│   │   └── IdempotencyError         the key was used for a different request
│   ├── AuthenticationError      401
│   ├── ForbiddenError           403
│   ├── NotFoundError            404
│   ├── ConflictError            409, 410, 412
│   ├── RateLimitedError         429
│   └── ServerError              5xx
├── JobFailedError           the job that was waited for
├── WaitTimeoutError         the job has not ended in time
├── UploadIncompleteError    single files cannot be read, or the server refuses them
├── WebhookError             a webhook was not sent by who knows the secret, or long ago
└── MissingLibraryError      such as pandas
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2 as httpx

from cuemill_client.records import Job, Upload


class ClientError(Exception):
    """Base of all errors of this package."""


class ConnectionFailedError(ClientError):
    """The server cannot be reached, or the connection broke before the answer was whole."""


class InvalidAnswerError(ClientError):
    """The answer is not one of Cuemill's API; perhaps the address is another program's."""


class ApiError(ClientError):
    """The server refuses a request.

    Attributes:
        status: of HTTP.
        code: stable, safe to test for: docs/http-api.md lists all.
        detail: a sentence for a person; its wording may change.
        errors: what is wrong with which field, if anything.
        request_id: names the request in the server's log.
        retry_after_s: how long the server asks to wait; None if it does not say.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class InvalidRequestError(ApiError):
    """A field is missing or wrong, or the request cannot be carried out."""


class IdempotencyError(InvalidRequestError):
    """The idempotency key was used for a different request."""


class AuthenticationError(ApiError):
    """The server requires a key, or does not know this one."""


class ForbiddenError(ApiError):
    """The key does not have the right, or the folder is not within the server's roots."""


class NotFoundError(ApiError):
    """There is no such job, upload or release."""


class ConflictError(ApiError):
    """The state of the job or upload does not allow this."""


class RateLimitedError(ApiError):
    """The key has reached one of its limits."""


class ServerError(ApiError):
    """The server cannot answer now (503), or has a bug (500)."""


class JobFailedError(ClientError):
    """The job that was waited for has failed; `job` says why."""

    def __init__(self, job: Job) -> None:
        reason = job.error.message if job.error else "It gives no reason."
        super().__init__(f"Job {job.id} failed: {reason}")
        self.job = job


class WaitTimeoutError(ClientError):
    """The job has not ended in time. It goes on; wait again."""


class UploadIncompleteError(ClientError):
    """Single files cannot be read, or the server refuses them; all others are there.

    Attributes:
        upload: of which a job can be submitted all the same.
        refused: why, by the name of the file.
    """

    def __init__(self, upload: Upload, refused: Mapping[str, str]) -> None:
        name, reason = next(iter(refused.items()))
        super().__init__(f"{len(refused)} files were not uploaded. The first is {name}: {reason}")
        self.upload = upload
        self.refused = refused


class WebhookError(ClientError):
    """Nobody who knows the secret sent this webhook, or it is too old."""


class MissingLibraryError(ClientError):
    """An optional library is not installed."""


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
    412: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
}
_BY_CODE: Final[Mapping[str, type[ApiError]]] = {"idempotency_key_reused": IdempotencyError}


def error_of(response: httpx.Response) -> ClientError:
    """The error that an answer stands for which is no success."""
    status = response.status_code
    try:
        problem = response.json()
        code, detail = problem["code"], problem["detail"]
    except (ValueError, KeyError, TypeError):
        # Of a proxy, or of another program.
        phrase = response.reason_phrase or "no reason"
        place = response.headers.get("Location")
        hint = f" Use the address that it leads to: {place}" if place else ""
        code, detail = "unknown", f"{response.url} answered {status} ({phrase}).{hint}"
        problem = {}

    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = ServerError if status >= 500 else ApiError
    request_id = response.headers.get("X-Request-Id")
    return kind(
        status, code, detail, problem.get("errors") or (), request_id, retry_after_s(response)
    )


def retry_after_s(response: httpx.Response) -> float | None:
    """How long the server asks to wait before the next try."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
