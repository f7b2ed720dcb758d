"""A typed client of Cuemill's HTTP API.

with Client("http://localhost:8000") as cuemill:
    job = cuemill.wait(cuemill.submit(upload=cuemill.upload("photos")))
    frame = cuemill.results(job).to_pandas()
"""

from cuemill_client import webhooks
from cuemill_client.async_client import AsyncClient
from cuemill_client.client import Client
from cuemill_client.errors import (
    ApiError,
    AuthenticationError,
    ClientError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    IdempotencyError,
    InvalidAnswerError,
    InvalidRequestError,
    JobFailedError,
    MissingLibraryError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UploadIncompleteError,
    WaitTimeoutError,
    WebhookError,
)
from cuemill_client.files import LocalFile
from cuemill_client.records import (
    EMOTIONS,
    Box,
    Counts,
    Detection,
    EmotionShare,
    ErrorInfo,
    Face,
    FolderShare,
    Job,
    Release,
    Result,
    Retried,
    Skipped,
    Summary,
    Upload,
    UploadedFile,
)
from cuemill_client.server import __version__

__all__ = [
    "EMOTIONS",
    "ApiError",
    "AsyncClient",
    "AuthenticationError",
    "Box",
    "Client",
    "ClientError",
    "ConflictError",
    "ConnectionFailedError",
    "Counts",
    "Detection",
    "EmotionShare",
    "ErrorInfo",
    "Face",
    "FolderShare",
    "ForbiddenError",
    "IdempotencyError",
    "InvalidAnswerError",
    "InvalidRequestError",
    "Job",
    "JobFailedError",
    "LocalFile",
    "MissingLibraryError",
    "NotFoundError",
    "RateLimitedError",
    "Release",
    "Result",
    "Retried",
    "ServerError",
    "Skipped",
    "Summary",
    "Upload",
    "UploadIncompleteError",
    "UploadedFile",
    "WaitTimeoutError",
    "WebhookError",
    "__version__",
    "webhooks",
]
