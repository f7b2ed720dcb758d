"""Routes of results."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.responses import problem_detail


@pytest.mark.parametrize(
    "path",
    [
        "/v1/results?min_score=2",
        "/v1/results?outcome=odd",
        "/v1/results?path_prefix=%00",
    ],
)
def test_malformed_parameters_are_a_problem(client: TestClient, path: str) -> None:
    problem_detail(client.get(path), 422, "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/results?after=1.2",
        "/v1/results?after=9.9.99999999999999999999",
        "/v1/results?emotion=joy",
    ],
)
def test_invalid_cursors_and_unknown_emotions_are_a_problem(client: TestClient, path: str) -> None:
    problem_detail(client.get(path), 422, "usage")


def test_a_page_without_results_is_empty_and_the_last(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    empty: dict[str, Any] = {"results": [], "next": None}
    assert client.get("/v1/results").json() == empty
    assert client.get(f"/v1/jobs/{job['id']}/results?emotion=peace").json() == empty


def test_streams_are_whole_and_named(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    response = client.get(f"/v1/jobs/{job['id']}/results.csv")
    assert response.headers["Content-Disposition"] == f'attachment; filename="job-{job["id"]}.csv"'
    assert response.text.splitlines()[0].startswith("job_id,path,outcome,")
    assert client.get(f"/v1/jobs/{job['id']}/results.jsonl").text == ""
