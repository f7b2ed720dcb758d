"""Routes of model releases."""

from dataclasses import replace
from pathlib import Path

from fastapi.testclient import TestClient

from models.release.files import save_release
from models.store import releases
from models.store.database import Database
from tests.api.responses import problem_detail
from tests.builders import tiny_release


def test_models_are_listed_without_their_paths(client: TestClient, faces: str) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["name"], model["is_default"], len(model["labels"])) == ("tiny", True, 28)
    assert "path" not in model
    assert client.get(f"/v1/models/{model['id']}").json() == model


def test_a_promoted_release_is_the_one_that_new_jobs_use(
    client: TestClient, db: Database, tmp_path: Path, faces: str
) -> None:
    first = client.post("/v1/jobs", json={"folder": faces}).json()
    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    other = releases.register(db, tmp_path / "other.pkl")
    assert [row["is_default"] for row in client.get("/v1/models").json()["data"]] == [True, False]
    assert client.post(f"/v1/models/{other}/promote").json()["is_default"]
    assert [row["is_default"] for row in client.get("/v1/models").json()["data"]] == [False, True]
    assert client.post("/v1/jobs", json={"folder": faces}).json()["model"] == "other"
    assert client.get(f"/v1/jobs/{first['id']}").json()["model"] == "tiny"
    assert client.get(f"/v1/models/{other}").json() == client.get("/v1/models").json()["data"][1]
    problem_detail(client.post("/v1/models/99/promote"), 404, "not_found")
    problem_detail(client.get("/v1/models/99"), 404, "not_found")
