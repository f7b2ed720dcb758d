"""The parameters of requests, as typed keyword arguments."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

Condition = str | Sequence[str]
"""A limit of a score: `gte:0.4`, with gte, gt, lte or lt. Of several, all must hold."""


class JobOptions(TypedDict, total=False):
    """How to classify: the fields of `POST /v1/jobs`, whose defaults hold."""

    recursive: bool
    exclude: Sequence[str]
    system_folders: bool
    model: str | None
    faces: Literal["auto", "detect", "whole"]
    min_face: int
    face_threshold: float
    metadata: Mapping[str, Any] | None
    fresh: bool
    trust_mtime: bool
    retention_days: int | None


class JobFilters(TypedDict, total=False):
    """Which jobs to list."""

    status: Literal["queued", "running", "completed", "cancelled", "failed"]
    folder: str
    metadata: Mapping[str, str | float | bool]
    submitted_after: datetime
    submitted_before: datetime
    ended_after: datetime
    ended_before: datetime


class ResultFilters(TypedDict, total=False):
    """Which results to list, and in which order. All filters must match."""

    emotion: str
    min_score: float
    score: Mapping[str, Condition]
    uncertain: bool
    outcome: Literal["classified", "no_face", "unreadable", "failed"]
    code: str
    path_prefix: str
    glob: str
    model: str
    min_face: int
    min_confidence: float
    min_faces: int
    max_faces: int
    sort: str


def check_names(kind: Any, given: Mapping[str, Any]) -> None:
    """Refuses arguments that do not exist, which the server might ignore.

    Raises:
        TypeError: there are such.
    """
    names = kind.__annotations__
    unknown = given.keys() - names.keys()
    if unknown:
        raise TypeError(f"unknown: {', '.join(sorted(unknown))}; expected: {', '.join(names)}")


def to_params(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A query: mappings get a name for each key, such as `score.fear`; sequences repeat theirs."""
    return list(_flatten(values))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif value is not None:
            items = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
            yield from ((prefix + name, _to_text(item)) for item in items)


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)
