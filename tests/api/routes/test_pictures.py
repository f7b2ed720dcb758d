"""Routes of pictures: what they show of a file, and when they don't."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from PIL import Image

from api.context import Context
from api.server import make_api
from models.settings import Settings
from models.store.database import Database
from models.store.tables import Image as ImageRow
from models.store.tables import Job, Prediction
from tests.api.conftest import BASE_URL
from tests.api.responses import problem_detail
from worker.pipeline import Pipeline
from worker.scan import scan

RED, GREEN = (200, 30, 30), (30, 200, 30)


@pytest.fixture
def job(client: TestClient, db: Database, tiny_model: Path, tmp_path: Path) -> str:
    """The address of a job of two images: one lies on its side, and one is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = Image.new("RGB", (600, 400), RED)
    picture.paste(GREEN, (300, 0, 600, 400))  # The lower half, once it is turned.
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(folder / "a.jpg", exif=exif, quality=95)
    (folder / "b.jpg").write_bytes(b"no picture")

    job = client.post("/v1/jobs", json={"folder": str(folder), "faces": "whole"}).json()
    settings = Settings(_env_file=None, model=tiny_model)
    assert scan(db, settings, "worker", job["id"], lambda: None, lambda: None)
    assert Pipeline(db, settings, "h:2:t", "h:1:t").run()
    return f"/v1/jobs/{job['id']}"


def read(client: TestClient, address: str) -> Image.Image:
    response = client.get(address)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(response.content))


def test_a_thumbnail_is_small_upright_and_without_metadata(client: TestClient, job: str) -> None:
    thumbnail = read(client, f"{job}/images/0/thumbnail")
    assert thumbnail.size == (128, 192)
    assert not thumbnail.getexif()
    pixels = np.asarray(thumbnail)
    assert np.allclose(pixels[:90], RED, atol=12)
    assert np.allclose(pixels[102:], GREEN, atol=12)
    assert read(client, f"{job}/images/0/picture").size == (400, 600)
    assert read(client, f"{job}/images/0/faces/0").size == (128, 192)  # It was taken whole.


def test_a_face_is_cut_out_square(client: TestClient, job: str, db: Database) -> None:
    with db.write() as connection:
        box = {"box_x": 10, "box_y": 380, "box_width": 150, "box_height": 180, "face_roll": 5.0}
        connection.execute(sa.update(Prediction).values(**box))
    face = read(client, f"{job}/images/0/faces/0")
    assert face.size == (192, 192)
    assert np.allclose(np.asarray(face), GREEN, atol=12)


def test_a_browser_that_has_a_picture_is_told_so_without_reading_the_file(
    client: TestClient, job: str, tmp_path: Path
) -> None:
    headers = client.get(f"{job}/images/0/thumbnail").headers
    assert headers["cache-control"] == "private, no-cache"

    (tmp_path / "photos" / "a.jpg").unlink()
    again = client.get(f"{job}/images/0/thumbnail", headers={"If-None-Match": headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    detail = problem_detail(client.get(f"{job}/images/0/thumbnail"), 409, "picture")
    assert "no longer exists" in detail


def test_what_no_worker_decoded_is_not_decoded(
    client: TestClient, job: str, tmp_path: Path
) -> None:
    detail = problem_detail(client.get(f"{job}/images/1/thumbnail"), 409, "picture")
    assert "was not classified" in detail

    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.jpg")
    detail = problem_detail(client.get(f"{job}/images/0/thumbnail"), 409, "picture")
    assert "has changed since" in detail

    os.rename(tmp_path / "photos", tmp_path / "gone")
    problem_detail(client.get(f"{job}/images/0/thumbnail"), 409, "picture")


@pytest.mark.parametrize("path", ["2/thumbnail", "0/faces/1", "99999999999999999/picture"])
def test_what_there_is_not_is_not_found(client: TestClient, job: str, path: str) -> None:
    problem_detail(client.get(f"{job}/images/{path}"), 404, "not_found")


def test_a_path_that_leads_out_of_the_folder_or_the_roots_is_refused(
    client: TestClient, job: str, db: Database, tmp_path: Path
) -> None:
    outside = tmp_path.parent / "outside.jpg"
    Image.new("RGB", (9, 9)).save(outside)
    with db.write() as connection:
        connection.execute(
            sa.update(ImageRow).where(ImageRow.number == 0).values(path="../../outside.jpg")
        )
    problem_detail(client.get(f"{job}/images/0/thumbnail"), 409, "picture")

    with db.write() as connection:
        connection.execute(sa.update(Job).values(folder=str(tmp_path.parent), folder_inode=None))
    problem_detail(client.get(f"{job}/images/0/thumbnail"), 403, "outside_roots")


def test_pictures_can_be_turned_off(db: Database, job: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, image_roots=(tmp_path,), pictures=False)
    context = Context(db, settings, announce=lambda: None, ping_queue=lambda: None)
    with TestClient(make_api(context), base_url=BASE_URL) as client:
        detail = problem_detail(client.get(f"{job}/images/0/thumbnail"), 409, "picture")
    assert "CUEMILL_PICTURES" in detail
