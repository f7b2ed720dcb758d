"""The grid of faces, and the facets beside it."""

import csv

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.dashboard.pages.results import PAGE
from models.labels import EMOTIONS
from models.store import batches
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import LEASE_S, claim_batch, list_folder, queue_job, records_of


def face(emotion: str, score: float) -> FaceRecord:
    scores = np.full(len(EMOTIONS), (1 - score) / 27, np.float32)
    scores[EMOTIONS.index(emotion)] = score
    return FaceRecord(scores)


@pytest.fixture
def results(db: Database, release_id: int) -> str:
    """The address of the results of two faces in one image, one in another, and a failure."""
    job = queue_job(db, release_id)
    list_folder(db, job, 3)
    records = [
        ImageRecord(
            0, "a/0.jpg", Outcome.CLASSIFIED, faces=[face("fear", 0.9), face("anger", 0.6)]
        ),
        ImageRecord(1, "b/1.jpg", Outcome.CLASSIFIED, faces=[face("fear", 0.4)]),
        ImageRecord(2, f"b/{HOSTILE}", Outcome.UNREADABLE, "truncated", "Cut off."),
    ]
    batches.complete(db, claim_batch(db), records)
    return f"/jobs/{job.id}/results"


def test_faces_are_shown_with_their_pictures_emotions_and_scores(
    client: TestClient, results: str
) -> None:
    page = Page(client.get(results))
    assert [image["src"] for image in page.all("img", loading="lazy")] == [
        "/v1/jobs/1/images/0/faces/0",
        "/v1/jobs/1/images/0/faces/1",
        "/v1/jobs/1/images/1/faces/0",
    ]
    assert "/jobs/1/images/0#face-1" in page.links()
    assert "Anger 0.60 a/0.jpg" in page.text
    assert "Unreadable truncated" in page.text


def test_a_click_on_a_bar_filters_the_grid_the_counts_and_the_download(
    client: TestClient, results: str
) -> None:
    page = Page(client.get(results))
    assert "4 results" in page.text
    assert "Fear 2 Anger 1" in page.text

    fear = Page(client.get(f"{results}?emotion=fear"))
    assert f"{results}?emotion=fear" in page.links()
    assert "2 faces" in fear.text
    assert "≥ 0.9 1 ≥ 0.8 1" in fear.text
    assert f"/v1{results}.csv?emotion=fear" in fear.links()
    rows = list(csv.DictReader(client.get(f"/v1{results}.csv?emotion=fear").text.splitlines()))
    assert [row["path"] for row in rows] == ["a/0.jpg", "b/1.jpg"]
    # The other bars stay, so that one click changes the emotion; the same click undoes it.
    assert f"{results}?emotion=anger" in fear.links()
    assert results in fear.links()


def test_facets_add_up_and_each_can_be_taken_back(client: TestClient, results: str) -> None:
    page = Page(client.get(f"{results}?emotion=fear&min_score=0.9&min_faces=2&max_faces=2"))
    assert "1 face" in page.text
    for rest in (
        "min_score=0.9&min_faces=2&max_faces=2",
        "emotion=fear&min_faces=2&max_faces=2",
        "emotion=fear&min_score=0.9",
    ):
        assert f"{results}?{rest}" in page.links()


def test_a_path_is_typed_into_a_form_that_keeps_the_other_filters(
    client: TestClient, results: str
) -> None:
    page = Page(client.get(f"{results}?emotion=fear&path_prefix=b/"))
    assert "1 face" in page.text
    assert page.all("form", action=results, method="get")
    assert page.all("input", type="hidden") == [
        {"type": "hidden", "name": "emotion", "value": "fear"}
    ]


def test_pages_follow_each_other(client: TestClient, db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, PAGE + 1, batch_size=PAGE + 1)
    while claim := batches.claim(db, None, "worker", LEASE_S):
        batches.complete(db, claim, records_of(claim))

    first = Page(client.get(f"/jobs/{job.id}/results"))
    (following,) = first.all("a", rel="next")
    second = Page(client.get(following["href"]))
    assert len(first.all("img", loading="lazy")) == PAGE
    assert len(second.all("img", loading="lazy")) == 1
    assert f"{PAGE + 1} results" in second.text
    assert not second.all("a", rel="next")


def test_the_least_certain_faces_come_first_and_are_walked_from_image_to_image(
    client: TestClient, results: str
) -> None:
    page = Page(client.get(results))
    assert f"{results}?sort=score" in page.links()
    least = Page(client.get(f"{results}?sort=score"))
    assert "3 faces" in least.text
    assert "Fear 0.40 b/1.jpg Anger 0.60 a/0.jpg Fear 0.90 a/0.jpg" in least.text
    assert f"/v1{results}.csv?sort=score" in least.links()
    rows = csv.DictReader(client.get(f"/v1{results}.csv?sort=score").text.splitlines())
    assert [row["emotion"] for row in rows] == ["fear", "anger", "fear"]
    assert f"{results}?sort=score&emotion=fear" in least.links()

    address, walked = next(link for link in least.links() if "images/1?" in link), []
    while True:
        walked.append(address.split("images/")[1].replace("?", "#").split("#")[::2])
        page = Page(client.get(address))
        following = page.all("a", rel="next")
        if not following:
            break
        address = following[0]["href"]
    assert walked == [["1", "face-0"], ["0", "face-1"], ["0", "face-0"]]
    assert page.all("a", rel="prev")[0]["href"].endswith("#face-1")


def test_names_and_filters_cannot_run_scripts(client: TestClient, results: str) -> None:
    assert HOSTILE in Page(client.get(results)).text
    page = Page(client.get(results, params={"path_prefix": HOSTILE, "code": HOSTILE}))
    assert "Nothing matches all of these filters." in page.text
    assert HOSTILE in page.text
