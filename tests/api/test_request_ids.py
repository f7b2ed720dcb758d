"""The id of a request: in the answer's header, in problems and in logs."""

import re

import pytest
from fastapi.testclient import TestClient

from models.logs import current_ids
from models.store import jobs
from tests.logs import json_lines

HEADER = "X-Request-ID"


@pytest.mark.parametrize("sent", ["abc-1", "4bf92f3577b34da6a3ce929d0e0e4736", "a" * 128])
def test_the_id_that_a_client_sends_comes_back(client: TestClient, sent: str) -> None:
    response = client.get("/v1/jobs", headers={HEADER: sent})
    assert response.headers[HEADER] == sent


@pytest.mark.parametrize("sent", ["", "a b", "a" * 129, "a\tb", "é"])
def test_an_id_that_logs_could_not_show_plainly_is_replaced(client: TestClient, sent: str) -> None:
    response = client.get("/v1/jobs", headers=[(HEADER.encode(), sent.encode())])
    assert re.fullmatch("[0-9a-f]{16}", response.headers[HEADER])


def test_requests_without_an_id_get_different_ones(client: TestClient) -> None:
    ids = {client.get("/healthz").headers[HEADER] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 405, 415, 421, 422, 500])
def test_every_problem_has_the_id_of_its_request(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(jobs, "get", lambda *_: 1 / 0)
    ask = {
        400: ("POST", "/v1/jobs", {"Content-Type": "application/json"}),
        403: ("DELETE", "/v1/jobs/1", {"Sec-Fetch-Site": "cross-site"}),
        404: ("GET", "/absent", {}),
        405: ("PATCH", "/v1/jobs", {}),
        415: ("POST", "/v1/jobs", {"Content-Type": "text/plain"}),
        421: ("GET", "/v1/jobs", {"Host": "elsewhere"}),
        422: ("GET", "/v1/jobs/x", {}),
        500: ("GET", "/v1/jobs/1", {}),
    }
    method, path, headers = ask[status]
    content = b"\xff" if method == "POST" else None
    response = client.request(method, path, content=content, headers=headers | {HEADER: "mine"})

    assert response.status_code == status
    assert response.headers.get_list(HEADER) == ["mine"]
    assert response.json()["request_id"] == "mine"


def test_what_a_request_logs_has_its_id_and_nothing_after_it_has(
    client_without_database: TestClient,
) -> None:
    with json_lines("api.problems") as lines:
        client_without_database.get("/v1/jobs", headers={HEADER: "mine"})

    assert [line["request_id"] for line in lines] == ["mine"]
    assert current_ids() == {}
