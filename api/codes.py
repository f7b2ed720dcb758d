"""The codes of problems: what each means, and what to do.

docs/errors.md and the page at `/docs/errors` are made of them, and so is what OpenAPI says of each
status. Codes are never renamed or removed.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final


@dataclass(frozen=True)
class Code:
    """
    Args:
        statuses: with which it is sent.
        meaning: in Markdown, but with nothing of it except code.
    """

    statuses: tuple[int, ...]
    meaning: str
    remedy: str


CODES: Final = {
    "bad_request": Code(
        (400,),
        "The body is no JSON in UTF-8.",
        "Send JSON. `detail` says what is wrong with it.",
    ),
    "key_in_url": Code(
        (400,),
        "A key is in the URL, which programs on the way write to their logs.",
        "Revoke the key, and send the next one in the header `Authorization: Bearer`.",
    ),
    "unauthenticated": Code(
        (401,),
        "The request has no key, or one that is unknown, revoked or expired; or the session of a "
        "browser has ended.",
        "Send a key in the header `Authorization: Bearer`. `cuemill keys create` makes one. In a "
        "browser, sign in at `/sign-in`.",
    ),
    "insufficient_scope": Code(
        (403,),
        "The key does not allow this.",
        "Use a key of the scope that `detail` names.",
    ),
    "cross_site": Code(
        (403,),
        "A page of another site sent this request from a browser.",
        "Send it from a page of this API, or from a program.",
    ),
    "outside_roots": Code(
        (403,),
        "The path is not within the folders that the API may read.",
        "Choose a folder within `CUEMILL_IMAGE_ROOTS`, or add one to that setting.",
    ),
    "address": Code(
        (403,),
        "A webhook must not be sent to this URL: by default, only to public addresses, by HTTPS.",
        "Choose another URL, or set `CUEMILL_WEBHOOK_PRIVATE` for private networks and plain HTTP.",
    ),
    "not_found": Code(
        (404,),
        "There is nothing at this path, or no job, model, training or webhook with this id.",
        "Check the id. No path ends with a slash. A deleted job is gone for good.",
    ),
    "method_not_allowed": Code(
        (405,),
        "The path exists, but does not have this method.",
        "Use one that the header `Allow` lists. Whatever has GET also has HEAD.",
    ),
    "picture": Code(
        (409,),
        "The picture of a result cannot be shown.",
        "`detail` says why: for example, the file has changed since it was classified.",
    ),
    "upload_used": Code(
        (409,),
        "The upload has a job already.",
        "Create another upload: each is of one job.",
    ),
    "content_too_large": Code(
        (413,),
        "The body is larger than this route takes, or an upload is larger than its limits.",
        "Send less. `detail` names the limit.",
    ),
    "unsupported_media_type": Code(
        (415,),
        "The body is of a type that this route does not take.",
        "Say what it is: for JSON, send the header `Content-Type: application/json`.",
    ),
    "unknown_host": Code(
        (421,),
        "The Host header names another machine.",
        "If it is a name of this one, such as a proxy's, add it to `CUEMILL_ALLOWED_HOSTS`.",
    ),
    "invalid_request": Code(
        (422,),
        "A field or a parameter is missing, unknown, or of a wrong type.",
        "Correct what `errors` lists: `pointer` leads to a field of the body, and `parameter` "
        "names one in the path, the query or a header.",
    ),
    "usage": Code(
        (422,),
        "The request is well formed, but asks for something that cannot be.",
        "`detail` says what was expected: a known emotion, or the cursor of a page.",
    ),
    "cursor_mismatch": Code(
        (409,),
        "The cursor is of a list in another order.",
        "Send `after` with the `sort` of the page that it comes from, or begin without it.",
    ),
    "folder": Code(
        (422,),
        "The folder is missing, is no folder, or cannot be read.",
        "Check the path as the server sees it, and the permissions of the server's user.",
    ),
    "data": Code(
        (422,),
        "Training data that cannot be used.",
        "`detail` says what is wrong with it.",
    ),
    "idempotency_key_reused": Code(
        (422,),
        "The `Idempotency-Key` was used for a different request.",
        "Use a new key for each thing that is to be created.",
    ),
    "limit_exceeded": Code(
        (429,),
        "The key has made too many requests, or has too many unfinished jobs; or an address has "
        "tried to sign in too often.",
        "Wait for as many seconds as the header `Retry-After` says.",
    ),
    "internal": Code(
        (500,),
        "A bug in Cuemill.",
        "Report it, with the traceback in the server's log: look for the `request_id`.",
    ),
    "pickle_missing": Code(
        (500,),
        "The file of the model is gone.",
        "Put it back where it was, or promote another model.",
    ),
    "pickle_corrupt": Code(
        (500,),
        "The file of the model is damaged.",
        "Restore it, or promote another model. `cuemill models inspect` checks a file.",
    ),
    "pickle_tampered": Code(
        (500,),
        "The file of the model is not the one that was registered.",
        "Find out who changed it, and restore it.",
    ),
    "pickle_version": Code(
        (500,),
        "The file of the model is of a version that this Cuemill does not read.",
        "Upgrade Cuemill, or promote another model.",
    ),
    "pickle_hostile": Code(
        (500,),
        "The file of the model tries to run code. It was not loaded.",
        "Remove it, and find out where it came from.",
    ),
    "database": Code(
        (500, 503),
        "The database cannot be used.",
        "With 503, try again after the seconds in `Retry-After`. With 500, trying again does not "
        "help: `detail` and the server's log say what somebody has to do.",
    ),
    "spool": Code(
        (503,),
        "Uploads cannot be stored at present.",
        "`detail` says why. Check `CUEMILL_SPOOL`, and try again.",
    ),
    "spool_full": Code(
        (507,),
        "The disk of uploads is full.",
        "Make room: delete uploads that are not needed, or jobs that have ended.",
    ),
    "busy": Code(
        (503,),
        "A folder does not answer, or too many requests that read much are running.",
        "Try again after the seconds in `Retry-After`.",
    ),
}


def describe(status: int) -> str:
    """What an answer with this status means, for OpenAPI."""
    names = [f"`{name}`" for name, code in CODES.items() if status in code.statuses]
    phrase = HTTPStatus(status).phrase
    return f"{phrase}: {', '.join(names)}." if names else f"{phrase}."
