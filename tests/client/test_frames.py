"""Results as data frames."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars
import pytest

from cuemill_client import EMOTIONS, Result
from cuemill_client.frames import COLUMNS, to_pandas, to_polars
from cuemill_client.records import parse
from models import formats, labels

SCORES = {emotion: number / 1000 for number, emotion in enumerate(EMOTIONS)}
FACE = {"index": 0, "box": {"x": 1, "y": 2, "width": 3, "height": 4}, "confidence": 0.9, "roll": 2}


def results() -> list[Result]:
    base = {"job_id": 1, "error": None, "face": None, "emotion": None, "score": None}
    base |= {"scores": None, "model": None}
    error = {"code": "truncated", "message": "Cut off."}
    face = {"face": FACE, "emotion": "joy", "score": 0.5, "scores": SCORES, "model": "tiny"}
    rows = [
        {**base, "path": "=a.jpg", "outcome": "unreadable", "error": error},
        {**base, **face, "path": "b.jpg", "outcome": "classified"},
    ]
    return [parse(Result, row) for row in rows]


def test_the_columns_are_those_of_the_csv() -> None:
    assert tuple(COLUMNS) == formats.COLUMNS
    assert EMOTIONS == labels.EMOTIONS


def rows_of_polars() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = to_polars(results()).to_dicts()
    return rows


def rows_of_pandas() -> list[dict[str, Any]]:
    frame = to_pandas(results()).astype(object)
    rows: list[dict[str, Any]] = frame.where(frame.notna(), None).to_dict("records")
    return rows


@pytest.mark.parametrize("rows", [rows_of_polars, rows_of_pandas])
def test_a_frame_has_every_value_in_its_column(rows: Callable[[], list[dict[str, Any]]]) -> None:
    unreadable, classified = rows()
    assert {name: value for name, value in unreadable.items() if value is not None} == {
        "job_id": 1,
        "path": "=a.jpg",
        "outcome": "unreadable",
        "error_code": "truncated",
        "error_message": "Cut off.",
    }
    assert classified == {
        "job_id": 1,
        "path": "b.jpg",
        "outcome": "classified",
        "error_code": None,
        "error_message": None,
        "face_index": 0,
        "box_x": 1,
        "box_y": 2,
        "box_width": 3,
        "box_height": 4,
        "face_confidence": 0.9,
        "face_roll": 2.0,
        "emotion": "joy",
        "score": 0.5,
        **SCORES,
        "model": "tiny",
    }


def test_a_frame_of_no_results_has_the_same_columns_and_types() -> None:
    empty = to_polars([])
    assert empty.schema == to_polars(results()).schema
    assert empty.schema["face_index"] == polars.Int64
    assert to_pandas([]).dtypes.equals(to_pandas(results()).dtypes)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_library_that_is_missing_is_named_with_what_to_do(name: str) -> None:
    program = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from cuemill_client import frames\n"
        f"frames.to_{name}([])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (
        f"MissingLibraryError: to_{name} requires {name}. Run `pip install {name}`" in done.stderr
    )
