"""The form for a new job, and the folders beside it."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.dashboard.pages.submit import SHOWN
from models.pictures.detection import FaceMode
from models.store import jobs, releases
from models.store.database import Database
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import touch

FORM = {"folder": "", "faces": "auto", "model": "", "retention_days": "", "recursive": "on"}


def test_folders_are_found_by_following_links(client: TestClient, tmp_path: Path) -> None:
    touch(tmp_path, "photos/2024/a.jpg", "photos/2024/b.PNG", "photos/2024/notes.txt", ".hidden/x")
    roots = Page(client.get("/submit"))
    assert f"/submit?folder={str(tmp_path).replace('/', '%2F')}" in roots.links()

    root = Page(client.get("/submit", params={"folder": str(tmp_path)}))
    (photos,) = [link for link in root.links() if link.endswith("photos")]
    assert "hidden" not in root.text

    (year,) = [link for link in Page(client.get(photos)).links() if link.endswith("2024")]
    page = Page(client.get(year))
    assert "2 pictures, 0 subfolders" in page.text
    (field,) = page.all("input", id="folder")
    assert field["value"] == f"{tmp_path}/photos/2024"
    assert photos in page.links()


def test_a_form_submits_a_job(
    client: TestClient, db: Database, faces: str, announced: list[bool]
) -> None:
    client.post("/submit", data={**FORM, "folder": faces})
    (release,) = releases.list_all(db, Path())
    values = {"model": release.sha256, "faces": "whole", "retention_days": "7", "recursive": ""}
    response = client.post(
        "/submit", data={**FORM, **values, "folder": f" {faces} "}, follow_redirects=False
    )
    assert (response.status_code, response.headers["Location"]) == (303, "/jobs/2")
    job = jobs.get(db, 2)
    assert (job.folder, job.retention_days, job.recursive) == (faces, 7, False)
    assert job.detection.mode is FaceMode.WHOLE
    assert announced == [True, True]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("folder", "/etc", "/etc is outside the folders that the API may read"),
        ("folder", "", "Expected the path of a folder."),
        ("folder", "a\0", "Expected the path of a folder."),
        ("retention_days", "soon", "Expected whole days"),
        ("retention_days", "99999", "Expected whole days, at most 36,500"),
        ("model", "nobody's", "is neither a file nor a known release"),
        ("faces", "odd", "Expected one of these."),
    ],
)
def test_errors_stand_beside_their_field_and_nothing_typed_is_lost(
    client: TestClient, db: Database, faces: str, field: str, value: str, reason: str
) -> None:
    typed = {**FORM, "folder": faces, "retention_days": "5", field: value}
    response = client.post("/submit", data=typed)
    assert response.status_code in (403, 422)
    page = Page(response, response.status_code)
    assert reason in page.text

    elements = [own for _, own in page.elements if own.get("name") == field]
    assert elements[0]["aria-describedby"] == f"{field}-error"
    assert page.all("p", id=f"{field}-error")
    for name in {"folder", "retention_days"} - {field}:
        assert page.all("input", id=name)[0]["value"] == typed[name]
    assert jobs.list_newest(db) == []


def test_a_form_of_another_site_or_of_another_kind_is_refused(
    client: TestClient, db: Database, faces: str
) -> None:
    form = {**FORM, "folder": faces}
    headers = {"Origin": "https://evil.example"}
    assert client.post("/submit", data=form, headers=headers).status_code == 403
    assert client.post("/v1/jobs", data=form).status_code == 415
    assert jobs.list_newest(db) == []


def test_names_of_folders_cannot_run_scripts(client: TestClient, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "-")
    (tmp_path / name).mkdir()
    assert name in Page(client.get("/submit", params={"folder": str(tmp_path)})).text
    page = Page(client.get("/submit", params={"folder": f"{tmp_path}/{name}"}))
    assert page.all("input", id="folder")[0]["value"] == f"{tmp_path}/{name}"
    page = Page(client.post("/submit", data={**FORM, "folder": HOSTILE}), 403)
    assert HOSTILE in page.text


def test_a_folder_of_very_many_shows_the_first(client: TestClient, tmp_path: Path) -> None:
    for number in range(SHOWN + 1):
        (tmp_path / f"{number:04}").mkdir()
    page = Page(client.get("/submit", params={"folder": str(tmp_path)}))
    assert f"These are the first {SHOWN}." in page.text
    assert len([link for link in page.links() if link.startswith("/submit?")]) == SHOWN
