"""Plans: impossible ones are refused, and JSON keeps them as they are."""

import json
from dataclasses import replace
from typing import Any

import pytest

from models.errors import DataError, NotFoundError
from trainer.plan import Plan

PLAN = Plan(("faces",), ("others,val",), ("cuemill1", "model3"), select_by="macro_f1")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"candidates": ("model3", "model9")},
            NotFoundError,
            "Unknown candidate 'model9'. Candidates: model1",
        ),
        ({"candidates": ()}, DataError, "at least one candidate and one data source"),
        ({"data": ()}, DataError, "at least one candidate and one data source"),
    ],
)
def test_an_impossible_plan_is_refused(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        replace(PLAN, **options).check()


def test_a_possible_plan_is_accepted() -> None:
    PLAN.check()


def test_a_plan_survives_json() -> None:
    assert Plan.from_plain(json.loads(json.dumps(PLAN.to_plain()))) == PLAN
