"""Results as text, a piece at a time: the same in files, on standard output and over HTTP."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from models.labels import EMOTIONS
from models.store.results import Record

COLUMNS: Final = (
    "job_id",
    "path",
    "outcome",
    "error_code",
    "error_message",
    "face_index",
    "box_x",
    "box_y",
    "box_width",
    "box_height",
    "face_confidence",
    "face_roll",
    "emotion",
    "score",
    *EMOTIONS,
    "model",
)
"""The columns of a CSV or Parquet file."""

_FORMULA_STARTS: Final = (*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Those of spreadsheet programs, which also take signs in full width, and the apostrophe."""


def as_jsonl(records: Iterable[Record]) -> Iterator[str]:
    """JSON Lines: one object a line."""
    for record in records:
        yield json.dumps(to_nested(record)) + "\n"


def as_json(records: Iterable[Record]) -> Iterator[str]:
    """One JSON array."""
    is_empty = True
    for record in records:
        yield ("[\n" if is_empty else ",\n") + json.dumps(to_nested(record))
        is_empty = False
    yield "[]\n" if is_empty else "\n]\n"


def as_csv(records: Iterable[Record]) -> Iterator[str]:
    """CSV as in RFC 4180, with a header line; a missing value is an empty field.

    Text that a spreadsheet might take for a formula gets an apostrophe in front, and so does text
    that begins with one: without a leading apostrophe, each is what it was.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow(map(_no_formula, to_row(record)))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def to_nested(record: Record) -> dict[str, Any]:
    """A record as JSON shows it."""
    return {
        "job_id": record.job_id,
        "path": record.path,
        "outcome": record.outcome,
        "error": record.error,
        "face": record.face,
        "emotion": record.emotion,
        "score": record.score,
        "scores": record.scores,
        "model": record.model,
    }


def to_row(record: Record) -> list[Any]:
    """The values of COLUMNS."""
    error = record.error or {}
    face = record.face or {}
    box = face.get("box") or {}
    scores = record.scores or {}
    return [
        record.job_id,
        record.path,
        record.outcome.value,
        error.get("code"),
        error.get("message"),
        face.get("index"),
        box.get("x"),
        box.get("y"),
        box.get("width"),
        box.get("height"),
        face.get("confidence"),
        face.get("roll"),
        record.emotion,
        record.score,
        *[scores.get(emotion) for emotion in EMOTIONS],
        record.model,
    ]


def _no_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA_STARTS)
    return f"'{value}" if is_formula else value
