"""Types that several schemas share: text, ids, pages and errors."""

import re
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Header, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from models.errors import UsageError
from models.free_text import JSON_MAX_BYTES, JSON_MAX_DEPTH, check_json, check_text
from models.store.order import CURSOR

MAX_ID: Final = 2**63 - 1

Item = TypeVar("Item")

Text = Annotated[
    str, AfterValidator(check_text), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})
]
"""Text that UTF-8, JSON and both databases can hold, and so give back."""

IdempotencyKey = Annotated[
    Text | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Makes repeating safe: the same key with the same request returns what the "
        "first one created.",
    ),
]
"""Of all requests that create something; models/store/idempotency.py does the rest."""

JsonObject = Annotated[
    dict[str, Any],
    AfterValidator(check_json),
    Field(description=f"At most {JSON_MAX_BYTES:,} bytes of JSON and {JSON_MAX_DEPTH} levels."),
]
"""A JSON object that JSON and both databases can hold, and so give back."""


def _check_digits(value: Any) -> Any:
    # Pydantic also takes " 1" and "1_0". That 1.0 is whole, JSON Schema says.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.0+)?", value):
        raise ValueError("expected a whole number in digits")
    return value


DIGITS: Final = BeforeValidator(_check_digits)
"""Of whole numbers in paths and queries. It stands last, so that OpenAPI shows their limits."""


def _take_whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE: Final = BeforeValidator(_take_whole)
"""Of whole numbers in bodies: in JSON, 1.0 is one."""

Limit = Annotated[
    int, Query(ge=1, le=1000, description="Maximum number of items in the page."), DIGITS
]


def _after(pattern: str) -> Any:
    description = "`next` from the previous page, unchanged. Omit for the first page."
    # The code checks it, with a better message.
    return Query(description=description, json_schema_extra={"pattern": pattern})


After = Annotated[str | None, _after("^[0-9]{1,18}$")]
"""The id after which a page of ids starts."""

AfterResult = Annotated[str | None, _after(CURSOR)]
"""The result after which a page of results starts."""


class Page(BaseModel, Generic[Item]):
    """A page of a list: of jobs, results, and whatever else there are several of."""

    data: list[Item]
    has_more: bool = Field(description="Whether a page follows.")
    next: str | None = Field(
        description="Pass as `after` to get the next page; null if there are no more items."
    )


class ErrorInfo(BaseModel):
    code: str = Field(description="Stable code, safe to test for.")
    message: str = Field(description="Explanation for a person; its wording may change.")


class FieldError(BaseModel):
    """What is wrong with one field of a body, or with one parameter."""

    pointer: str | None = Field(
        None, description="JSON pointer to the field of the body, such as `#/exclude/0`."
    )
    parameter: str | None = Field(
        None, description="Name of the parameter in the path, the query or a header."
    )
    detail: str = Field(description="Explanation for a person; its wording may change.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="Where the API explains the code: `/docs/errors#not_found`.")
    title: str
    status: int
    code: str = Field(description="Stable code, safe to test for.")
    detail: str = Field(description="Explanation for a person; its wording may change.")
    errors: list[FieldError] = Field([], description="Each field that is wrong, if any is.")
    request_id: str | None = Field(None, description="As in `X-Request-ID` and the server's log.")


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
