"""What is polled: tags, 304, and when to ask again."""

import pytest
from fastapi.testclient import TestClient

from api import polling
from models.store import batches
from models.store.database import Database
from models.store.jobs import JobView
from tests.builders import claim_batch, list_folder, queue_job, records_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "address",
    ["/v1/jobs/1", "/v1/jobs", "/v1/jobs/1/results", "/v1/models", "/v1/trainings", "/docs"],
)
def test_what_has_not_changed_since_is_a_304_without_a_body(
    client: TestClient, db: Database, release_id: int, address: str
) -> None:
    queue_job(db, release_id)
    first = client.get(address)
    tag = first.headers["ETag"]

    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
        assert "Content-Length" not in again.headers
        assert client.head(address, headers={"If-None-Match": known}).status_code == 304

    other = client.get(address, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("address", ["/v1/jobs/1", "/v1/jobs"])
def test_the_tag_of_a_job_moves_with_its_counts_but_not_with_its_rates(
    client: TestClient,
    db: Database,
    release_id: int,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    list_folder(db, queue_job(db, release_id), 8)
    claim = claim_batch(db)
    before = client.get(address).headers["ETag"]

    batches.complete(db, claim, records_of(claim))
    first = client.get(address)
    assert first.headers["ETag"] != before

    monkeypatch.setattr(JobView, "images_per_second", 0.1)  # As it might be a while later.
    later = client.get(address)
    assert later.content != first.content
    assert later.headers["ETag"] == first.headers["ETag"]


def test_large_answers_and_streams_and_problems_have_no_tag(
    client: TestClient, db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_job(db, release_id)
    assert "ETag" not in client.get("/v1/jobs/1/results.csv").headers
    assert "ETag" not in client.get("/v1/jobs/9", headers={"If-None-Match": "*"}).headers

    monkeypatch.setattr(polling, "MAX_BYTES", 10)
    response = client.get("/v1/emotions", headers={"If-None-Match": "*"})
    assert response.status_code == 200
    assert "ETag" not in response.headers


def test_what_is_accepted_says_when_to_ask_again(client: TestClient, faces: str) -> None:
    response = client.post("/v1/jobs", json={"folder": faces})
    assert (response.status_code, response.headers["Retry-After"]) == (202, "1")
