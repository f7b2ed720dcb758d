"""Pages of lists: one envelope, and a link to the next page."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.store import batches
from models.store.database import Database
from tests.builders import LEASE_S, list_folder, queue_job, records_of


def pages_of(client: TestClient, address: str) -> list[Any]:
    """All pages of a list, reached by their links."""
    pages = []
    while True:
        response = client.get(address)
        pages.append(response.json())
        if "next" not in response.links:
            return pages
        address = response.links["next"]["url"]


@pytest.fixture
def two_jobs(db: Database, release_id: int) -> None:
    """The newer one has four results."""
    queue_job(db, release_id)
    list_folder(db, queue_job(db, release_id), 4)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, records_of(claim))


@pytest.mark.usefixtures("two_jobs")
@pytest.mark.parametrize(
    ("address", "sizes"),
    [
        ("/v1/jobs?limit=1&status=queued", [1]),
        ("/v1/jobs?limit=1", [1, 1]),
        ("/v1/jobs/2/results?limit=3&outcome=classified", [3, 1]),
        ("/v1/results?limit=2", [2, 2]),
        ("/v1/trainings", [0]),
        ("/v1/models", [1]),
        ("/v1/emotions", [28]),
        ("/v1/workers", [0]),
    ],
)
def test_links_lead_through_all_pages_of_a_list_and_end_with_the_last_item(
    client: TestClient, address: str, sizes: list[int]
) -> None:
    pages = pages_of(client, address)

    assert [len(page["data"]) for page in pages] == sizes
    assert all(set(page) == {"data", "has_more", "next"} for page in pages)
    assert [page["has_more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    assert [page["next"] is not None for page in pages] == [page["has_more"] for page in pages]


def test_every_list_is_described_as_a_page(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    schemas = description["components"]["schemas"]

    operations = [path["get"] for path in description["paths"].values() if "get" in path]
    lists = [each for each in operations if each["operationId"].startswith("list_")]
    assert len(lists) >= 6

    for operation in lists:
        content = operation["responses"]["200"]["content"]["application/json"]
        page = schemas[content["schema"]["$ref"].rsplit("/", 1)[-1]]
        assert list(page["properties"]) == ["data", "has_more", "next"]
