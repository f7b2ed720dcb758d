"""Types that several schemas share: text, ids, pages and errors."""

from typing import Annotated, Final

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field

from models.errors import UsageError

MAX_ID: Final = 2**63 - 1


def _reject_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("contains a NUL character")
    return value


Text = Annotated[str, AfterValidator(_reject_nul)]

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
