"""The filters of jobs."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from pydantic import AfterValidator

from api.schemas.common import Text
from models.errors import UsageError
from models.free_text import check_text
from models.store.job_filters import JobFilter
from models.store.states import JobStatus
from models.times import to_utc

_METADATA: Final = re.compile(r"metadata(?:\.(.+)|\[(.+)\])", re.DOTALL)
_TEXT: Final = {"type": "string", "pattern": r"^[^\u0000]*$"}

METADATA: Final[dict[str, Any]] = {
    "name": "metadata",
    "in": "query",
    "description": "Only jobs whose metadata has these values, as `metadata[study]=pilot` or "
    "`metadata.study=pilot`. Numbers, true and false are written as in JSON.",
    "style": "deepObject",
    "explode": True,
    "schema": {
        "type": "object",
        "additionalProperties": _TEXT,
        "propertyNames": {"pattern": r"^[A-Za-z0-9_-]{1,64}$"},
    },
}
"""How OpenAPI describes what FastAPI cannot: parameters of any name."""

Time = Annotated[datetime, AfterValidator(to_utc)]


def _time(what: str) -> Any:
    return Query(description=f"Only jobs {what}. A time without a zone is in UTC.")


async def _parse_filter(
    request: Request,
    status: Annotated[JobStatus | None, Query(description="Only jobs with this status.")] = None,
    folder: Annotated[
        Text | None,
        Query(min_length=1, description="Only jobs of this folder, or of one within it."),
    ] = None,
    submitted_after: Annotated[Time | None, _time("submitted at this time or later")] = None,
    submitted_before: Annotated[Time | None, _time("submitted before this time")] = None,
    ended_after: Annotated[Time | None, _time("that ended at this time or later")] = None,
    ended_before: Annotated[Time | None, _time("that ended before this time")] = None,
) -> JobFilter:
    return JobFilter(
        status=status,
        folder=folder,
        metadata=_parse_metadata(request),
        submitted_after=submitted_after,
        submitted_before=submitted_before,
        ended_after=ended_after,
        ended_before=ended_before,
    )


def _parse_metadata(request: Request) -> dict[str, str]:
    metadata = {}
    for name, text in request.query_params.multi_items():
        parts = _METADATA.fullmatch(name)
        if parts is None:
            continue
        try:
            metadata[check_text(parts[1] or parts[2])] = check_text(text)
        except ValueError as error:
            raise UsageError(f"Invalid filter {name!r}: it {error}.") from error
    return metadata


JobFilterParameters = Annotated[JobFilter, Depends(_parse_filter)]
