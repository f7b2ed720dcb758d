"""Routes of trainings."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.responses import problem_detail


def train_request(tmp_path: Path, **more: Any) -> dict[str, Any]:
    (tmp_path / "labelled").mkdir(exist_ok=True)
    return {"data": [str(tmp_path / "labelled")], **more}


def test_a_training_is_accepted_shown_listed_and_cancelled(
    client: TestClient, tmp_path: Path, announced: list[bool]
) -> None:
    body = train_request(tmp_path, candidates=["model1"])
    (tmp_path / "linked").symlink_to(tmp_path / "labelled")
    response = client.post("/v1/trainings", json=body | {"data": [f"{tmp_path}/linked"]})
    assert response.status_code == 202
    training = response.json()
    assert announced == [True]
    assert training["status"] == "queued"
    assert training["plan"] == {
        "data": [str(tmp_path / "labelled")],
        "validation": [],
        "candidates": ["model1"],
        "select_by": "accuracy",
        "weights": "imagenet",
        "seed": 0,
    }
    place = response.headers["Location"]
    assert client.get(place).json() == training
    page = {"data": [training], "has_more": False, "next": None}
    assert client.get("/v1/trainings").json() == page
    assert client.post(f"{place}/cancel").json()["status"] == "cancelled"
    assert client.post(f"{place}/cancel").json() == client.get(place).json()


def test_the_same_key_and_body_give_the_same_training_and_another_body_a_problem(
    client: TestClient, tmp_path: Path
) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = train_request(tmp_path)
    first = client.post("/v1/trainings", json=body, headers=headers)
    again = client.post("/v1/trainings", json=body, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())

    other = client.post("/v1/trainings", json=body | {"seed": 2}, headers=headers)
    problem_detail(other, 422, "idempotency_key_reused")


def test_a_trainings_source_keeps_its_options(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").touch()
    response = client.post("/v1/trainings", json={"data": [f"{tmp_path}/fer2013.csv,publictest"]})
    assert response.json()["plan"]["data"] == [f"{tmp_path}/fer2013.csv,publictest"]


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("/etc", 403, "outside_roots"),
        ("{root}/../../etc/passwd", 403, "outside_roots"),
        ("{root}/escape", 403, "outside_roots"),
        ("{root}/absent", 422, "data"),
        ("{root}/labels.csv,val", 422, "data"),
        ("", 422, "invalid_request"),
    ],
)
@pytest.mark.parametrize("name", ["data", "validation"])
def test_a_source_that_cannot_be_trained_on_is_refused_at_once(
    client: TestClient, tmp_path: Path, source: str, status: int, code: str, name: str
) -> None:
    (tmp_path / "escape").symlink_to("/etc")
    (tmp_path / "labels.csv").touch()
    body = train_request(tmp_path) | {name: [source.format(root=tmp_path)]}
    problem_detail(client.post("/v1/trainings", json=body), status, code)


@pytest.mark.parametrize(
    "more",
    [
        {"candidates": []},
        {"candidates": ["model9"]},
        {"select_by": "luck"},
        {"weights": "/etc/passwd"},
        {"seed": -1},
        {"data": []},
        {"surprise": 1},
    ],
)
def test_a_malformed_training_is_a_problem(
    client: TestClient, tmp_path: Path, more: dict[str, Any]
) -> None:
    problem_detail(
        client.post("/v1/trainings", json=train_request(tmp_path, **more)), 422, "invalid_request"
    )
