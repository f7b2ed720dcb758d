"""Two jobs compared: the matrix, and the faces that a cell leads to."""

import pytest
from fastapi.testclient import TestClient

from api.dashboard.pages.compare import PAGE
from models.store.database import Database
from tests.api.dashboard.reading import HOSTILE, Page
from tests.models.store.test_comparison import FIRST, SECOND, record

HTML = {"Accept": "text/html"}


@pytest.fixture
def jobs(db: Database, release_id: int) -> None:
    for images in (FIRST, SECOND):
        record(db, release_id, images)


@pytest.mark.usefixtures("jobs")
def test_it_says_what_is_compared_and_what_could_not_be(client: TestClient) -> None:
    text = Page(client.get("/compare?jobs=1,2")).text
    assert "Jobs 1 and 2 agree on 67\N{NBSP}% of 3 faces".replace("\N{NBSP}", " ") in text
    assert "Of 4 images with a result in both, 2 have different numbers of faces" in text
    assert "2 faces of 5 not matched; 1 image without a result in the other job" in text
    assert "3 faces of 6 not matched; 0 images without a result in the other job" in text


@pytest.mark.usefixtures("jobs")
def test_a_cell_leads_to_its_faces_side_by_side(client: TestClient) -> None:
    page = Page(client.get("/compare?jobs=1,2"))
    cell = "/compare/faces?jobs=1%2C2&first=fear&second=happiness"
    assert cell in page.links()
    assert "Fear → Happiness 1" in page.text

    faces = Page(client.get(cell))
    assert [image["src"] for image in faces.all("img", loading="lazy")] == [
        "/v1/jobs/1/images/1/faces/0",
        "/v1/jobs/2/images/2/faces/0",
    ]
    assert {"/jobs/1/images/1#face-0", "/jobs/2/images/2#face-0"} <= set(faces.links())
    changed = Page(client.get("/compare/faces?jobs=1,2"))
    assert changed.all("img", loading="lazy") == faces.all("img", loading="lazy")


def test_pages_of_faces_follow_each_other(
    client: TestClient, db: Database, release_id: int
) -> None:
    for emotion in ("fear", "anger"):
        record(db, release_id, {f"{number:03}.jpg": emotion for number in range(PAGE + 1)})
    first = Page(client.get("/compare/faces?jobs=1,2&first=fear"))
    (following,) = first.all("a", rel="next")
    second = Page(client.get(following["href"]))
    assert len(first.all("img", loading="lazy")) == 2 * PAGE
    assert len(second.all("img", loading="lazy")) == 2
    assert not second.all("a", rel="next")


@pytest.mark.usefixtures("jobs")
def test_the_page_of_a_job_offers_the_others_of_its_folder(client: TestClient) -> None:
    page = Page(client.get("/jobs/2"))
    assert page.all("form", action="/compare", method="get")
    assert [option["value"] for option in page.all("option")] == ["1,2"]
    response = client.get("/compare", params={"jobs": "1,2"})
    assert "agree on" in Page(response).text


def test_a_job_alone_in_its_folder_is_offered_no_other(
    client: TestClient, db: Database, release_id: int
) -> None:
    record(db, release_id, FIRST)
    assert not Page(client.get("/jobs/1")).all("form", action="/compare")


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("jobs=1,1", 422),
        ("jobs=1,9", 404),
        ("jobs=1", 422),
        ("jobs=1,x", 422),
        ("", 422),
    ],
)
def test_what_cannot_be_compared_is_refused(client: TestClient, query: str, status: int) -> None:
    Page(client.get(f"/compare?{query}", headers=HTML), status)
    Page(client.get(f"/compare/faces?{query}", headers=HTML), status)


@pytest.mark.usefixtures("jobs")
def test_an_emotion_that_does_not_exist_is_refused(client: TestClient) -> None:
    response = client.get("/compare/faces?jobs=1,2&first=fury", headers=HTML)
    assert "Unknown emotion 'fury'." in Page(response, 422).text


def test_names_of_files_are_escaped(client: TestClient, db: Database, release_id: int) -> None:
    for emotion in ("fear", "anger"):
        record(db, release_id, {HOSTILE: emotion})
    assert HOSTILE in Page(client.get("/compare/faces?jobs=1,2")).text
