"""Pages for people: Swagger UI and the errors."""

import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from api.codes import CODES

FILES = ["start.js", "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"]


class Links(HTMLParser):
    """Collects what a page loads, and the targets in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.targets: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href") and value:
                self.loaded.append(value)
            if name == "id" and value:
                self.targets.append(value)


def test_the_page_of_the_api_loads_only_files_of_the_api(client: TestClient) -> None:
    page = client.get("/docs")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert sorted(Links(page.text).loaded) == sorted(f"/docs/{name}" for name in FILES)
    assert "<script>" not in page.text

    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search("https?:|[*]|unsafe-eval", policy)


@pytest.mark.parametrize("name", FILES)
def test_the_files_of_the_page_are_there_with_their_types(client: TestClient, name: str) -> None:
    kinds = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    response = client.get(f"/docs/{name}")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(kinds[name.rsplit(".", maxsplit=1)[-1]])
    assert response.content

    known = {"If-None-Match": response.headers["ETag"]}
    assert client.get(f"/docs/{name}", headers=known).status_code == 304


def test_there_is_no_page_that_loads_scripts_from_elsewhere(client: TestClient) -> None:
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert client.get("/redoc").status_code == 404


def test_the_type_of_a_problem_leads_to_what_its_code_means(client: TestClient) -> None:
    address, _, code = client.get("/v1/jobs/7").json()["type"].partition("#")
    page = client.get(address)

    assert page.status_code == 200
    assert code in Links(page.text).targets
    assert set(CODES) <= set(Links(page.text).targets)
    assert "header <code>Retry-After</code>" in page.text
