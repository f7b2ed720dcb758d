"""Types that several schemas share: text, ids, pages and errors."""

import json
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field

from models.errors import UsageError

MAX_ID: Final = 2**63 - 1
JSON_MAX_BYTES: Final = 16_384
JSON_MAX_DEPTH: Final = 32


def _check_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("contains a surrogate, which UTF-8 cannot encode") from None
    return value


def _check_json(value: dict[str, Any]) -> dict[str, Any]:
    _check_depth(value)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError:
        raise ValueError("contains NaN or an infinity, which JSON does not have") from None

    _check_text(text)
    if "\\u0000" in text:
        raise ValueError("contains a NUL character")
    if len(text.encode()) > JSON_MAX_BYTES:
        raise ValueError(f"must be at most {JSON_MAX_BYTES:,} bytes of JSON")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(JSON_MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [
            inner
            for item in containers
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(f"must not nest deeper than {JSON_MAX_DEPTH} levels")


Text = Annotated[str, AfterValidator(_check_text)]
"""Text that UTF-8, JSON and both databases can hold, and so give back."""

JsonObject = Annotated[
    dict[str, Any],
    AfterValidator(_check_json),
    Field(description=f"At most {JSON_MAX_BYTES:,} bytes of JSON and {JSON_MAX_DEPTH} levels."),
]
"""A JSON object that JSON and both databases can hold, and so give back."""

Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of items in the page.")]

After = Annotated[
    str | None,
    Query(description="`next` from the previous page, unchanged. Omit for the first page."),
]

Next = Annotated[
    str | None,
    Field(description="Pass as `after` to get the next page; null if there are no more items."),
]


class ErrorInfo(BaseModel):
    code: str = Field(description="Stable code, safe to test for.")
    message: str = Field(description="Explanation for a person; its wording may change.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable code, safe to test for.")
    detail: str = Field(description="Explanation for a person; its wording may change.")


def parse_id_cursor(after: str | None) -> int | None:
    """The id after which a page of ids starts.

    Raises:
        UsageError: the cursor is not an id.
    """
    if after is None:
        return None

    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise UsageError("Invalid cursor. Use `next` from the previous page unchanged.")

    return int(after)
