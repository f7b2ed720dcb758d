"""Results as JSON, JSON Lines and CSV."""

import csv
import json
from dataclasses import replace
from io import StringIO

import pytest

from models.formats import COLUMNS, as_csv, as_json, as_jsonl
from models.labels import EMOTIONS
from models.store.results import Record
from models.store.states import Outcome

SCORES = {emotion: number / 378 for number, emotion in enumerate(EMOTIONS)}
CLASSIFIED = Record(
    job_id=1,
    path='a "b",\n.jpg',
    outcome=Outcome.CLASSIFIED,
    error=None,
    face={"index": 0, "box": {"x": 1, "y": 2, "width": 3, "height": 4}},
    emotion="neutral",
    score=SCORES["neutral"],
    scores=SCORES,
    model="tiny",
    cursor="1.0.0",
)
UNREADABLE = Record(
    job_id=1,
    path="c.jpg",
    outcome=Outcome.UNREADABLE,
    error={"code": "truncated", "message": "Cut off."},
    face=None,
    emotion=None,
    score=None,
    scores=None,
    model="tiny",
    cursor="1.1.0",
)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_and_json_lines_hold_the_same_objects(count: int) -> None:
    records = [CLASSIFIED, UNREADABLE][:count]

    array = json.loads("".join(as_json(records)))
    lines = [json.loads(line) for line in "".join(as_jsonl(records)).splitlines()]

    assert array == lines
    assert [record["path"] for record in array] == [record.path for record in records]


def test_a_json_object_shows_all_of_a_record_but_its_cursor() -> None:
    (shown,) = json.loads("".join(as_json([UNREADABLE])))

    assert shown == {
        "job_id": 1,
        "path": "c.jpg",
        "outcome": "unreadable",
        "error": {"code": "truncated", "message": "Cut off."},
        "face": None,
        "emotion": None,
        "score": None,
        "scores": None,
        "model": "tiny",
    }


def test_csv_has_a_column_for_each_value_and_an_empty_field_for_a_missing_one() -> None:
    text = "".join(as_csv([CLASSIFIED, UNREADABLE]))
    classified, unreadable = csv.DictReader(StringIO(text, newline=""))

    assert tuple(classified) == COLUMNS
    assert classified["path"] == 'a "b",\n.jpg'
    assert [classified[f"box_{side}"] for side in ("x", "y", "width", "height")] == list("1234")
    assert {emotion: float(classified[emotion]) for emotion in EMOTIONS} == SCORES
    assert (unreadable["error_code"], unreadable["error_message"]) == ("truncated", "Cut off.")
    assert {unreadable[name] for name in ("face_index", "box_x", "score", *EMOTIONS)} == {""}


def test_csv_of_no_results_is_its_header() -> None:
    assert "".join(as_csv([])) == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize(
    "name",
    ["=1+1.jpg", "+1.jpg", "-1.jpg", "@a.jpg", "\t=1.jpg", "\r=1.jpg", "\uff1d1.jpg", "'a.jpg"],
)
def test_csv_has_no_text_that_a_spreadsheet_takes_for_a_formula(name: str) -> None:
    record = replace(UNREADABLE, path=name, error={"code": "truncated", "message": name})
    (row,) = csv.DictReader(StringIO("".join(as_csv([record])), newline=""))
    assert row["path"] == row["error_message"] == f"'{name}"


def test_csv_leaves_all_other_text_and_negative_numbers_as_they_are() -> None:
    face = {"index": 0, "box": None, "confidence": 0.9, "roll": -4.2}
    record = replace(CLASSIFIED, path="a=b-c.jpg", face=face)
    (row,) = csv.DictReader(StringIO("".join(as_csv([record])), newline=""))
    assert (row["path"], row["face_roll"]) == ("a=b-c.jpg", "-4.2")
