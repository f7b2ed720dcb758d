"""Requests that another page in the user's browser can send: refused before any route runs."""

import pytest
from fastapi.testclient import TestClient

from api.guards import HEADERS, Guards
from api.server import make_api

CANCEL = "/v1/jobs/1/cancel"
SERVED_AS = "localhost:8000"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.evil.example"],
)
def test_a_host_that_is_not_this_machine_is_refused(client: TestClient, host: str) -> None:
    response = client.get("/v1/jobs", headers={"Host": host})
    assert response.status_code == 421
    assert response.json()["code"] == "unknown_host"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "192.0.2.7:8000"]
)
def test_local_names_and_addresses_are_served(client: TestClient, host: str) -> None:
    assert client.get("/v1/jobs", headers={"Host": host}).status_code == 200


def test_a_name_that_is_set_is_served(client: TestClient) -> None:
    context = client.app.state.context  # type: ignore[attr-defined]
    guarded = Guards(make_api(context), allowed_hosts=["cuemill.example"])
    # The inner application has guards of its own, so ask for the outer decision alone.
    assert guarded._is_own("Cuemill.Example:443")
    assert not guarded._is_own("other.example")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{SERVED_AS}"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "null"},
    ],
)
def test_a_change_that_another_site_asks_for_is_refused(
    client: TestClient, headers: dict[str, str]
) -> None:
    response = client.post(CANCEL, headers=headers)
    assert response.status_code == 403
    assert response.json()["code"] == "cross_site"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{SERVED_AS}"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": f"http://{SERVED_AS}"},
    ],
)
def test_programs_and_own_pages_reach_the_route(
    client: TestClient, headers: dict[str, str]
) -> None:
    assert client.post(CANCEL, headers=headers).json()["code"] == "not_found"


def test_reading_needs_no_proof_of_origin(client: TestClient) -> None:
    assert client.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/7", "/nowhere", "/healthz"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
