"""The filters of results, as all routes of results take them."""

import inspect
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from pydantic import Field

from api.schemas.common import DIGITS, Text
from models.errors import UsageError
from models.labels import EMOTIONS
from models.store.filters import COMPARISON, ResultFilter, ScoreRange
from models.store.order import SORTS, Sort
from models.store.states import Outcome
from models.store.tables import NOTABLE

_SCORE: Final = "score."


async def _parse_scores(request: Request, **comparisons: list[str]) -> tuple[ScoreRange, ...]:
    """The ranges of scores: one parameter an emotion, repeatable."""
    for name in request.query_params:
        # A misspelt filter must not pass for none.
        if name.startswith(_SCORE) and name.removeprefix(_SCORE) not in EMOTIONS:
            raise UsageError(f"Unknown filter {name!r}. Expected one of: {_names()}.")

    return tuple(
        ScoreRange.parse(emotion, text) for emotion, texts in comparisons.items() for text in texts
    )


def _names() -> str:
    return ", ".join(f"{_SCORE}{emotion}" for emotion in EMOTIONS)


def _score_parameter(emotion: str) -> inspect.Parameter:
    query: Any = Query(
        alias=f"{_SCORE}{emotion}",
        max_length=4,
        description="Only faces with such a score: `gte:0.4`, `gt:`, `lte:` or `lt:`; repeatable.",
    )
    item = Annotated[str, Field(pattern=COMPARISON)]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(emotion, kind, default=(), annotation=Annotated[list[item], query])


# FastAPI asks a function for its parameters by its signature.
_parse_scores.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request),
        *map(_score_parameter, EMOTIONS),
    ]
)


async def _parse_filter(
    emotion: Annotated[
        str | None,
        Query(
            description="Only faces whose highest score is for this emotion.",
            json_schema_extra={"enum": [*EMOTIONS, None]},
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        Query(ge=0, le=1, description="Only faces whose highest score is this or more."),
    ] = None,
    outcome: Annotated[Outcome | None, Query(description="Only images with this outcome.")] = None,
    path_prefix: Annotated[
        Text | None, Query(description="Only images whose path starts with this.")
    ] = None,
    min_face: Annotated[
        int | None,
        Query(
            ge=1,
            le=65_535,
            description="Only faces whose box has a shorter side of this many pixels or more. "
            "Images taken whole have no box.",
        ),
        DIGITS,
    ] = None,
    min_confidence: Annotated[
        float | None,
        Query(
            ge=0,
            le=1,
            description="Only faces of which the detector is this sure or more. Images taken whole "
            "have no confidence.",
        ),
    ] = None,
    min_faces: Annotated[
        int | None,
        Query(ge=0, le=65_535, description="Only images with this many faces or more."),
        DIGITS,
    ] = None,
    max_faces: Annotated[
        int | None,
        Query(
            ge=0,
            le=65_535,
            description="Only images with this many faces or fewer. Images without a result have "
            "0 faces.",
        ),
        DIGITS,
    ] = None,
    scores: Annotated[tuple[ScoreRange, ...], Depends(_parse_scores)] = (),
    uncertain: Annotated[
        bool | None,
        Query(
            description="Only faces whose highest score is below the threshold of the model that "
            "scored them (`true`), or only the others (`false`)."
        ),
    ] = None,
    code: Annotated[Text | None, Query(description="Only images with this error code.")] = None,
    glob: Annotated[
        Text | None,
        Query(
            min_length=1,
            max_length=1024,
            description="Only images whose path matches this pattern: `*` (slashes too), `?`, "
            "`[a-z]` or `[!a-z]`. Case matters.",
        ),
    ] = None,
    model: Annotated[
        Text | None,
        Query(
            min_length=1,
            description="Only results of the model with this name, or whose SHA-256 begins so.",
        ),
    ] = None,
) -> ResultFilter:
    return ResultFilter(
        emotion=emotion,
        min_score=min_score,
        outcome=outcome,
        path_prefix=path_prefix,
        min_face=min_face,
        min_confidence=min_confidence,
        min_faces=min_faces,
        max_faces=max_faces,
        scores=scores,
        uncertain=uncertain,
        code=code,
        glob=glob,
        model=model,
    )


FilterParameters = Annotated[ResultFilter, Depends(_parse_filter)]


async def _parse_sort(
    text: Annotated[
        str,
        Query(
            alias="sort",
            description="`number` is the order of the scan. `score` sorts by the highest score, "
            "the least certain face first, and `score.fear` by an emotion's; `-` puts the highest "
            "first. Sorted by scores, the list has faces only; those that score below "
            f"{NOTABLE} for an emotion are in scan order.",
            json_schema_extra={"enum": list(SORTS)},
        ),
    ] = SORTS[0],
) -> Sort:
    return Sort.parse(text)


SortParameter = Annotated[Sort, Depends(_parse_sort)]


async def refuse_sort(request: Request) -> None:
    """
    Raises:
        UsageError: the request asks for an order that its route does not have.
    """
    if "sort" in request.query_params:
        raise UsageError("`sort` is not possible here: only a job's own results can be sorted.")
