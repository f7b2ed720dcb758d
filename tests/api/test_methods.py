"""Methods of each path."""

import pytest
from fastapi.testclient import TestClient

from tests.api.responses import problem_detail


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, POST, HEAD, OPTIONS"),
        ("/v1/jobs/1", "GET, DELETE, HEAD, OPTIONS"),
        ("/v1/jobs/1/cancel", "POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_path_says_which_methods_it_has(client: TestClient, path: str, allowed: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.headers["Allow"], options.content) == (204, allowed, b"")
    refused = client.patch(path)
    assert allowed in problem_detail(refused, 405, "method_not_allowed")
    assert refused.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/jobs/1", "/v1/jobs/1/results.csv", "/v1/jobs/7", "/nowhere"])
def test_head_answers_as_get_does_without_the_body(
    client: TestClient, faces: str, path: str
) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    client.headers["X-Request-ID"] = "same"
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code
    assert head.headers == get.headers
    assert head.content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
@pytest.mark.parametrize("path", ["/v1/jobs/", "/v2", "/v1/jobs/1/"])
def test_a_path_that_is_none_has_no_methods(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path, follow_redirects=False).status_code == 404
