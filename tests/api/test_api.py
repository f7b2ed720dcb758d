"""The API's contract: status codes, problems, limits. The whole way with workers is in tests/integration."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.context import Context
from api.server import make_api
from models.labels import EMOTIONS
from models.release.files import save_release
from models.settings import Settings
from models.store import releases
from models.store.database import Database
from tests.builders import tiny_release
from tests.integration.deployment import make_faces


@pytest.fixture
def announced() -> list[bool]:
    return []


@pytest.fixture
def client(
    db: Database, tiny_model: Path, tmp_path: Path, announced: list[bool]
) -> Iterator[TestClient]:
    settings = Settings(_env_file=None, image_roots=(tmp_path,), model=tiny_model)
    context = Context(
        db, settings, announce=lambda: announced.append(True), ping_queue=lambda: True
    )
    with TestClient(make_api(context), raise_server_exceptions=False) as made:
        yield made


def problem(response: Any, status: int, code: str) -> str:
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    return str(body["detail"])


def test_a_job_is_accepted_and_announced_after_its_commit(
    client: TestClient, tmp_path: Path, announced: list[bool]
) -> None:
    response = client.post(
        "/v1/jobs", json={"folder": str(make_faces(tmp_path / "faces", 1)), "recursive": False}
    )
    assert response.status_code == 202
    job = response.json()
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["recursive"], job["model"]) == ("queued", False, "tiny")
    assert client.get(response.headers["Location"]).json() == job
    assert announced == [True]


def test_the_same_key_and_body_give_the_same_job_and_another_body_a_problem(
    client: TestClient, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 1)
    headers = {"Idempotency-Key": "k1"}
    first = client.post("/v1/jobs", json={"folder": str(folder)}, headers=headers)
    again = client.post("/v1/jobs", json={"folder": str(folder)}, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    other = client.post(
        "/v1/jobs", json={"folder": str(folder), "metadata": {"a": 1}}, headers=headers
    )
    problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "folder", ["/etc", "{root}/../..", "{root}/escape", "/etc/../etc/passwd", "relative"]
)
def test_a_folder_outside_the_roots_is_forbidden(
    client: TestClient, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "escape").symlink_to("/etc")
    response = client.post("/v1/jobs", json={"folder": folder.format(root=tmp_path)})
    assert "CUEMILL_IMAGE_ROOTS" in problem(response, 403, "outside_roots")


def test_a_missing_folder_within_the_roots_is_named(client: TestClient, tmp_path: Path) -> None:
    detail = problem(client.post("/v1/jobs", json={"folder": f"{tmp_path}/absent"}), 422, "folder")
    assert "does not exist" in detail


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"folder": ""},
        {"folder": 7},
        {"folder": "/a\0b"},
        {"folder": "/a", "surprise": 1},
        {"folder": "/a", "metadata": {"x": "y" * 20_000}},
        {"folder": "/a", "metadata": {"x": "a\0b"}},
        [],
    ],
)
def test_a_body_of_the_wrong_form_is_a_problem(client: TestClient, body: Any) -> None:
    problem(client.post("/v1/jobs", json=body), 422, "invalid_request")


def test_a_body_beyond_the_limit_is_refused_unread(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b" " * 1000

    response = client.post(
        "/v1/jobs", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413


def test_a_model_is_chosen_by_release_and_never_by_path(
    client: TestClient, tmp_path: Path, tiny_model: Path
) -> None:
    folder = str(make_faces(tmp_path / "faces", 1))
    client.post("/v1/jobs", json={"folder": folder})
    assert client.post("/v1/jobs", json={"folder": folder, "model": "tiny"}).status_code == 202
    problem(
        client.post("/v1/jobs", json={"folder": folder, "model": str(tiny_model)}), 404, "not_found"
    )


@pytest.mark.parametrize(
    "method_path",
    ["GET ", "POST /cancel", "POST /retry", "DELETE ", "GET /results", "GET /summary"],
)
def test_an_unknown_job_is_a_404(client: TestClient, method_path: str) -> None:
    method, path = method_path.split(" ")
    assert "No job 999" in problem(client.request(method, f"/v1/jobs/999{path}"), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/abc",
        "/v1/jobs/99999999999999999999",
        "/v1/jobs?limit=0",
        "/v1/jobs?limit=9999",
        "/v1/jobs?status=odd",
        "/v1/results?min_score=2",
        "/v1/results?outcome=odd",
        "/v1/results?path_prefix=%00",
    ],
)
def test_parameters_of_the_wrong_form_are_a_problem(client: TestClient, path: str) -> None:
    problem(client.get(path), 422, "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs?after=x",
        "/v1/results?after=1.2",
        "/v1/results?after=9.9.99999999999999999999",
        "/v1/results?emotion=joy",
    ],
)
def test_cursors_and_emotions_that_are_none_of_ours_are_a_problem(
    client: TestClient, path: str
) -> None:
    problem(client.get(path), 422, "usage")


def test_jobs_are_listed_newest_first_in_pages(client: TestClient, tmp_path: Path) -> None:
    folder = str(make_faces(tmp_path / "faces", 1))
    made = [client.post("/v1/jobs", json={"folder": folder}).json()["id"] for _ in range(5)]
    first = client.get("/v1/jobs?limit=3").json()
    second = client.get(f"/v1/jobs?limit=3&after={first['next']}").json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == made[::-1]
    assert second["next"] is None
    client.post(f"/v1/jobs/{made[0]}/cancel")
    assert [job["id"] for job in client.get("/v1/jobs?status=cancelled").json()["jobs"]] == [
        made[0]
    ]


def test_what_a_job_asks_for_besides_is_taken_and_checked(
    client: TestClient, tmp_path: Path
) -> None:
    body = {"folder": str(make_faces(tmp_path / "faces", 1))}
    job = client.post(
        "/v1/jobs", json=body | {"fresh": True, "trust_mtime": True, "retention_days": 30}
    ).json()
    assert (job["reused"], job["retention_days"], job["expires_at"]) == (0, 30, None)
    ended = client.post(f"/v1/jobs/{job['id']}/cancel").json()
    kept = datetime.fromisoformat(ended["expires_at"]) - datetime.fromisoformat(
        ended["cancelled_at"]
    )
    assert kept == timedelta(days=30)
    for wrong in ({"retention_days": -1}, {"retention_days": 36_501}, {"fresh": "perhaps"}):
        problem(client.post("/v1/jobs", json=body | wrong), 422, "invalid_request")
    headers = {"Idempotency-Key": "k"}
    client.post("/v1/jobs", json=body, headers=headers)
    problem(
        client.post("/v1/jobs", json=body | {"fresh": True}, headers=headers),
        422,
        "idempotency_key_reused",
    )
    assert client.post(f"/v1/jobs/{job['id']}/retry?stale=true").json()["retried"] == 0


def test_retry_says_how_many_images_it_queued(client: TestClient, tmp_path: Path) -> None:
    job = client.post("/v1/jobs", json={"folder": str(make_faces(tmp_path / "faces", 1))}).json()
    response = client.post(f"/v1/jobs/{job['id']}/retry?code=truncated&code=empty")
    assert (response.status_code, response.json()["retried"]) == (202, 0)


def train_request(tmp_path: Path, **more: Any) -> dict[str, Any]:
    (tmp_path / "labelled").mkdir(exist_ok=True)
    return {"data": [str(tmp_path / "labelled")], **more}


def test_a_training_is_accepted_shown_listed_and_cancelled(
    client: TestClient, tmp_path: Path, announced: list[bool]
) -> None:
    body = train_request(tmp_path, candidates=["model1"])
    (tmp_path / "linked").symlink_to(tmp_path / "labelled")
    response = client.post("/v1/trainings", json=body | {"data": [f"{tmp_path}/linked"]})
    assert response.status_code == 202
    training = response.json()
    assert announced == [True]
    assert training["status"] == "queued"
    assert training["plan"] == {
        "data": [str(tmp_path / "labelled")],
        "validation": [],
        "candidates": ["model1"],
        "select_by": "accuracy",
        "weights": "imagenet",
        "seed": 0,
    }
    place = response.headers["Location"]
    assert client.get(place).json() == training
    assert client.get("/v1/trainings").json() == {"trainings": [training], "next": None}
    assert client.post(f"{place}/cancel").json()["status"] == "cancelled"
    assert client.post(f"{place}/cancel").json() == client.get(place).json()


def test_a_trainings_source_keeps_its_options(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").touch()
    response = client.post("/v1/trainings", json={"data": [f"{tmp_path}/fer2013.csv,publictest"]})
    assert response.json()["plan"]["data"] == [f"{tmp_path}/fer2013.csv,publictest"]


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("/etc", 403, "outside_roots"),
        ("{root}/../../etc/passwd", 403, "outside_roots"),
        ("{root}/escape", 403, "outside_roots"),
        ("{root}/absent", 422, "data"),
        ("{root}/labels.csv,val", 422, "data"),
        ("", 422, "invalid_request"),
    ],
)
@pytest.mark.parametrize("name", ["data", "validation"])
def test_a_source_that_cannot_be_trained_on_is_refused_at_once(
    client: TestClient, tmp_path: Path, source: str, status: int, code: str, name: str
) -> None:
    (tmp_path / "escape").symlink_to("/etc")
    (tmp_path / "labels.csv").touch()
    body = train_request(tmp_path) | {name: [source.format(root=tmp_path)]}
    problem(client.post("/v1/trainings", json=body), status, code)


@pytest.mark.parametrize(
    "more",
    [
        {"candidates": []},
        {"candidates": ["model9"]},
        {"select_by": "luck"},
        {"weights": "/etc/passwd"},
        {"seed": -1},
        {"data": []},
        {"surprise": 1},
    ],
)
def test_a_training_of_the_wrong_form_is_a_problem(
    client: TestClient, tmp_path: Path, more: dict[str, Any]
) -> None:
    problem(
        client.post("/v1/trainings", json=train_request(tmp_path, **more)), 422, "invalid_request"
    )


def test_a_promoted_release_is_the_one_that_new_jobs_use(
    client: TestClient, db: Database, tmp_path: Path
) -> None:
    folder = str(make_faces(tmp_path / "faces", 1))
    first = client.post("/v1/jobs", json={"folder": folder}).json()
    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    other = releases.register(db, tmp_path / "other.pkl")
    assert [row["is_default"] for row in client.get("/v1/models").json()] == [True, False]
    assert client.post(f"/v1/models/{other}/promote").json()["is_default"]
    assert [row["is_default"] for row in client.get("/v1/models").json()] == [False, True]
    assert client.post("/v1/jobs", json={"folder": folder}).json()["model"] == "other"
    assert client.get(f"/v1/jobs/{first['id']}").json()["model"] == "tiny"
    problem(client.post("/v1/models/99/promote"), 404, "not_found")


def test_the_catalogue_lists_the_28_emotions_and_the_models(
    client: TestClient, tmp_path: Path
) -> None:
    client.post("/v1/jobs", json={"folder": str(make_faces(tmp_path / "faces", 1))})
    emotions = client.get("/v1/emotions").json()
    assert [emotion["name"] for emotion in emotions] == list(EMOTIONS)
    assert emotions[9] == {"index": 9, "name": "doubt_confusion", "title": "Doubt/Confusion"}
    (model,) = client.get("/v1/models").json()
    assert (model["name"], model["is_default"], len(model["labels"])) == ("tiny", True, 28)
    assert "path" not in model


def test_streams_are_whole_and_named(client: TestClient, tmp_path: Path) -> None:
    job = client.post("/v1/jobs", json={"folder": str(make_faces(tmp_path / "faces", 1))}).json()
    response = client.get(f"/v1/jobs/{job['id']}/results.csv")
    assert response.headers["Content-Disposition"] == f'attachment; filename="job-{job["id"]}.csv"'
    assert response.text.splitlines()[0].startswith("job_id,path,outcome,")
    assert client.get(f"/v1/jobs/{job['id']}/results.jsonl").text == ""


def test_health_metrics_and_the_description_answer(client: TestClient, tmp_path: Path) -> None:
    client.post("/v1/jobs", json={"folder": str(make_faces(tmp_path / "faces", 1))})
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    checks = ready.json()["checks"]
    assert checks.pop("workers") == "No worker runs; 1 job waits. Start one with `cuemill worker`."
    assert set(checks) >= {"database", "queue", "progress", "images"}
    assert set(checks.values()) == {"ok"}
    figures = client.get("/metrics").text
    for line in (
        'cuemill_jobs{status="queued"} 1.0',
        'cuemill_workers{state="alive"} 0.0',
        "cuemill_unserved_jobs 1.0",
    ):
        assert line in figures
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert (
        client.get("/docs").status_code == 404
    )  # It would have the browser fetch scripts from elsewhere.


def test_an_unknown_path_is_a_problem_too(client: TestClient) -> None:
    problem(client.get("/v2/jobs"), 404, "not_found")
    problem(client.put("/v1/jobs"), 405, "method_not_allowed")


def test_a_database_out_of_reach_is_a_503_and_readyz_says_why(
    tiny_model: Path, tmp_path: Path
) -> None:
    away = Database("postgresql+psycopg://user:secret@127.0.0.1:1/x")
    settings = Settings(_env_file=None, image_roots=(tmp_path,), model=tiny_model)
    context = Context(away, settings, announce=lambda: None, ping_queue=lambda: False)
    with TestClient(make_api(context)) as client:
        response = client.get("/v1/jobs")
        assert "can't be used" in problem(response, 503, "database")
        assert response.headers["Retry-After"] == "5"
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["status"] == "unavailable"
        assert all(ready.json()["checks"][name] != "ok" for name in ("database", "queue"))
        assert "secret" not in ready.text
