"""Bodies that are no JSON, or too large."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.bodies import MAX_BYTES
from tests.api.responses import problem_detail


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/trainings", "/v1/jobs/1/cancel"])
@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_not_called_json_is_refused(
    client: TestClient, path: str, media_type: str
) -> None:
    response = client.post(path, content=b"{}", headers={"Content-Type": media_type})
    assert "application/json" in problem_detail(response, 415, "unsupported_media_type")


def test_a_media_type_may_have_parameters_and_capitals(client: TestClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    problem_detail(client.post("/v1/jobs", content=b"{}", headers=headers), 422, "invalid_request")


def test_a_body_beyond_the_limit_is_refused_unread(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    for content in (b" " * (MAX_BYTES + 1), endless()):
        response = client.post("/v1/jobs", content=content, headers=headers)
        assert "more than 65,536 bytes" in problem_detail(response, 413, "content_too_large")

    response = client.post("/v1/jobs", content=b" " * MAX_BYTES, headers=headers)
    problem_detail(response, 422, "invalid_request")
