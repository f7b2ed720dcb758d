"""The page of one image."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api.dashboard.remedies import remedy_of
from models.labels import EMOTIONS, title
from models.settings import Settings
from models.store.database import Database
from models.store.tables import Image, ModelRelease, Prediction
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import save_grey
from worker.pipeline import Pipeline
from worker.scan import scan


@pytest.fixture
def images(client: TestClient, db: Database, tiny_model: Path, tmp_path: Path) -> str:
    """The address of the images of a job: two that were classified, and a broken one."""
    folder = tmp_path / "photos"
    save_grey(folder / "a.png", 90)
    save_grey(folder / "b.png", 180)
    (folder / "c.jpg").write_bytes(b"no picture")

    job = client.post("/v1/jobs", json={"folder": str(folder), "faces": "whole"}).json()
    settings = Settings(_env_file=None, model=tiny_model)
    assert scan(db, settings, "worker", job["id"], lambda: None, lambda: None)
    assert Pipeline(db, settings, "h:2:t", "h:1:t").run()
    return f"/jobs/{job['id']}/images"


def test_the_picture_is_shown_with_all_28_scores(client: TestClient, images: str) -> None:
    page = Page(client.get(f"{images}/0"))
    (picture,) = page.all("img", src=f"/v1{images}/0/picture")
    assert (picture["width"], picture["height"], picture["alt"]) == ("8", "8", "a.png")
    assert "1 face, the whole picture, 8 \N{MULTIPLICATION SIGN} 8 pixels" in page.text
    assert all(title(emotion) in page.text for emotion in EMOTIONS)
    assert "no example" not in page.text


def test_faces_are_boxed_where_they_are(client: TestClient, db: Database, images: str) -> None:
    with db.write() as connection:
        box = {"box_x": 1, "box_y": 2, "box_width": 4, "box_height": 6, "face_roll": 5.0}
        connection.execute(sa.update(Prediction).values(face_confidence=0.9, **box))

    page = Page(client.get(f"{images}/0"))
    (boxes,) = page.all("svg", **{"class": "boxes"})
    assert boxes["viewbox"] == "0 0 8 8"
    (rectangle,) = page.all("rect", **{"class": "box"})
    assert [rectangle[name] for name in ("x", "y", "width", "height")] == ["1", "2", "4", "6"]
    assert rectangle["transform"] == "rotate(5.0 3.0 5.0)"
    assert "#face-0" in page.links()
    assert page.all("div", id="face-0")


def test_labels_that_the_model_never_saw_come_last_with_the_reason(
    client: TestClient, db: Database, images: str
) -> None:
    with db.write() as connection:
        known = ["anger", "fear"]
        connection.execute(sa.update(ModelRelease).values(trained_labels=known))
    text = Page(client.get(f"{images}/0")).text
    reason = "tiny has seen no example of these 26 in its training. Their scores mean nothing."
    before, after = text.split(reason)
    assert "Anger 0." in before
    assert "Neutral 0." in after


def test_an_error_is_explained_with_its_remedy(client: TestClient, images: str) -> None:
    page = Page(client.get(f"{images}/2"))
    assert "not_an_image" in page.text
    assert remedy_of("not_an_image") in page.text
    assert "The picture could not be read, so it cannot be shown." in page.text


def test_a_picture_that_cannot_be_shown_says_why(
    client: TestClient, images: str, tmp_path: Path
) -> None:
    save_grey(tmp_path / "photos" / "a.png", 91)
    page = Page(client.get(f"{images}/0"))
    assert "The file has changed since it was classified." in page.text
    assert not page.all("img", src=f"/v1{images}/0/picture")
    assert "Neutral 0." in page.text


def test_links_lead_to_the_images_beside_it_within_the_filter(
    client: TestClient, images: str
) -> None:
    first = Page(client.get(f"{images}/0?path_prefix=&outcome=classified"))
    assert not first.all("a", rel="prev")
    (following,) = first.all("a", rel="next")
    assert following["href"] == f"{images}/1?outcome=classified"

    last = Page(client.get(following["href"]))
    assert not last.all("a", rel="next")
    assert last.all("a", rel="prev")[0]["href"] == f"{images}/0?outcome=classified"
    assert f"{images.replace('images', 'results')}?outcome=classified" in last.links()


def test_an_image_that_is_not_there_is_not_found(client: TestClient, images: str) -> None:
    for path in (f"{images}/3", "/jobs/7/images/0"):
        Page(client.get(path, headers={"Accept": "text/html"}), 404)


def test_names_and_errors_cannot_run_scripts(client: TestClient, db: Database, images: str) -> None:
    with db.write() as connection:
        connection.execute(sa.update(ModelRelease).values(name=HOSTILE))
        values = {"path": HOSTILE, "error_code": HOSTILE, "error_message": HOSTILE}
        connection.execute(sa.update(Image).where(Image.number == 0).values(values))
    page = Page(client.get(f"{images}/0"))
    assert page.text.count(HOSTILE) >= 4
    assert HOSTILE in page.title
