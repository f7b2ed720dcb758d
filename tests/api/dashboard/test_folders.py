"""The folders of a job by emotions, as a heat table."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.dashboard.figures import STEPS, heat
from models.labels import EMOTIONS
from models.store import batches
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import claim_batch, list_folder, queue_job

FACES = (("b/0.jpg", "fear"), ("a/1.jpg", "fear"), ("a/2.jpg", "fear"), ("a/3.jpg", "anger"))


def record(db: Database, release_id: int, faces: tuple[tuple[str, str], ...]) -> str:
    """Classifies these images in a job; returns its address."""
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    rows = []
    for number, (path, emotion) in enumerate(faces):
        scores = np.full(len(EMOTIONS), 0.01, np.float32)
        scores[EMOTIONS.index(emotion)] = 0.73
        rows.append(ImageRecord(number, path, Outcome.CLASSIFIED, faces=[FaceRecord(scores)]))
    batches.complete(db, claim_batch(db), rows)
    return f"/jobs/{job.id}"


@pytest.fixture
def job(db: Database, release_id: int) -> str:
    return record(db, release_id, FACES)


def test_each_folder_shows_the_shares_of_the_emotions_that_occur(
    client: TestClient, job: str
) -> None:
    page = Page(client.get(f"{job}/folders"))
    text = page.text.replace("\N{NBSP}", " ")
    assert "Folder Faces Fear Anger All folders 4 75 % 25 % a 3 67 % 33 % b 1 100 %" in text
    assert [cell["class"] for cell in page.all("td") if cell.get("class", "").startswith("s")] == [
        f"step-{step}" for step in (6, 4, 6, 4, 6)
    ]
    assert f"{job}/folders" in Page(client.get(job)).links()


def test_a_row_leads_to_the_faces_of_its_folder_and_a_cell_to_one_emotion_of_it(
    client: TestClient, job: str
) -> None:
    links = Page(client.get(f"{job}/folders")).links()
    for query, faces in (
        ("path_prefix=a%2F", "3 results"),
        ("path_prefix=a%2F&emotion=fear", "2 faces"),
        ("emotion=fear", "3 faces"),
    ):
        assert f"{job}/results?{query}" in links
        assert faces in Page(client.get(f"{job}/results?{query}")).text
    assert f"{job}/results?path_prefix=b%2F&emotion=anger" not in links


@pytest.mark.parametrize(("sort", "first"), [("fear", "b"), ("anger", "a"), ("faces", "a")])
def test_a_column_sorts_the_rows(client: TestClient, job: str, sort: str, first: str) -> None:
    assert f"{job}/folders?sort={sort}" in Page(client.get(f"{job}/folders")).links()
    page = Page(client.get(f"{job}/folders?sort={sort}"))
    prefixes = [link for link in page.links() if "path_prefix" in link]
    assert prefixes[0] == f"{job}/results?path_prefix={first}%2F"
    assert len(page.all("th", **{"aria-sort": "descending"})) == 1
    assert f"{job}/folders" in page.links()


def test_an_unknown_column_is_refused(client: TestClient, job: str) -> None:
    Page(client.get(f"{job}/folders?sort=joy2", headers={"Accept": "text/html"}), 422)


def test_a_shade_begins_at_its_step() -> None:
    counts = {"fear": 5, "anger": 4, "neutral": 91, "peace": 0}
    row = heat("a", counts, list(counts))
    assert [cell.step for cell in row.cells] == [2, 1, len(STEPS), 0]


def test_names_of_folders_cannot_run_scripts(
    client: TestClient, db: Database, release_id: int
) -> None:
    job = record(db, release_id, ((f"{HOSTILE}/0.jpg", "fear"),))
    assert HOSTILE in Page(client.get(f"{job}/folders")).text


def test_a_job_without_faces_says_so(client: TestClient, db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    assert "No face has been classified yet." in Page(client.get(f"/jobs/{job.id}/folders")).text
