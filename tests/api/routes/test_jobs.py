"""Routes of jobs. tests/integration follows jobs through real workers."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.labels import EMOTIONS
from tests.api.responses import problem_detail


def test_a_job_is_accepted_and_announced_after_its_commit(
    client: TestClient, faces: str, announced: list[bool]
) -> None:
    response = client.post("/v1/jobs", json={"folder": faces, "recursive": False})
    assert response.status_code == 202
    job = response.json()
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["recursive"], job["model"]) == ("queued", False, "tiny")
    assert client.get(response.headers["Location"]).json() == job
    assert announced == [True]


def test_a_job_has_exactly_these_fields(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces, "metadata": {"study": 7}}).json()
    assert list(job) == [
        "id",
        "folder",
        "recursive",
        "model",
        "model_release_id",
        "metadata",
        "status",
        "counts",
        "faces",
        "reused",
        "detection",
        "exclude",
        "is_selection",
        "upload",
        "skipped",
        "images_per_second",
        "eta_seconds",
        "error",
        "trouble",
        "queued_at",
        "running_at",
        "scanned_at",
        "completed_at",
        "cancelled_at",
        "failed_at",
        "retention_days",
        "expires_at",
    ]
    assert job["metadata"] == {"study": 7}
    assert datetime.fromisoformat(job["queued_at"]).utcoffset() == timedelta(0)


def test_a_job_passes_over_what_it_names_and_system_folders_unless_they_are_asked_for(
    client: TestClient, faces: str
) -> None:
    def excluded(**request: Any) -> list[str]:
        job = client.post("/v1/jobs", json={"folder": faces, **request}).json()
        return job["exclude"]  # type: ignore[no-any-return]

    assert {"@eaDir", "#recycle", "$RECYCLE.BIN"} < set(excluded())
    assert excluded(exclude=["*_small.jpg"], system_folders=True) == ["*_small.jpg"]
    assert client.post("/v1/jobs", json={"folder": faces, "exclude": [""]}).status_code == 422


def test_the_same_key_and_body_give_the_same_job_and_another_body_a_problem(
    client: TestClient, faces: str
) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = client.post("/v1/jobs", json={"folder": faces}, headers=headers)
    again = client.post("/v1/jobs", json={"folder": faces}, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    other = client.post("/v1/jobs", json={"folder": faces, "metadata": {"a": 1}}, headers=headers)
    problem_detail(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "folder", ["/etc", "{root}/../..", "{root}/escape", "/etc/../etc/passwd", "relative"]
)
def test_a_folder_outside_the_roots_is_forbidden(
    client: TestClient, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "escape").symlink_to("/etc")
    response = client.post("/v1/jobs", json={"folder": folder.format(root=tmp_path)})
    assert "CUEMILL_IMAGE_ROOTS" in problem_detail(response, 403, "outside_roots")


def test_a_missing_folder_within_the_roots_is_named(client: TestClient, tmp_path: Path) -> None:
    detail = problem_detail(
        client.post("/v1/jobs", json={"folder": f"{tmp_path}/absent"}), 422, "folder"
    )
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
def test_a_malformed_body_is_a_problem(client: TestClient, body: Any) -> None:
    problem_detail(client.post("/v1/jobs", json=body), 422, "invalid_request")


def test_a_model_is_chosen_by_release_and_never_by_path(
    client: TestClient, faces: str, tiny_model: Path
) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    assert client.post("/v1/jobs", json={"folder": faces, "model": "tiny"}).status_code == 202
    problem_detail(
        client.post("/v1/jobs", json={"folder": faces, "model": str(tiny_model)}), 404, "not_found"
    )


@pytest.mark.parametrize(
    "method_path",
    ["GET ", "POST /cancel", "POST /retry", "DELETE ", "GET /results", "GET /summary"],
)
def test_an_unknown_job_is_a_404(client: TestClient, method_path: str) -> None:
    method, path = method_path.split(" ")
    assert "No job 999" in problem_detail(
        client.request(method, f"/v1/jobs/999{path}"), 404, "not_found"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/abc",
        "/v1/jobs/99999999999999999999",
        "/v1/jobs?limit=0",
        "/v1/jobs?limit=9999",
        "/v1/jobs?status=odd",
    ],
)
def test_malformed_parameters_are_a_problem(client: TestClient, path: str) -> None:
    problem_detail(client.get(path), 422, "invalid_request")


def test_an_invalid_cursor_is_a_problem(client: TestClient) -> None:
    assert (
        problem_detail(client.get("/v1/jobs?after=x"), 422, "usage")
        == "Invalid cursor. Use `next` from the previous page unchanged."
    )


def test_jobs_are_listed_newest_first_in_pages(client: TestClient, faces: str) -> None:
    job_ids = [client.post("/v1/jobs", json={"folder": faces}).json()["id"] for _ in range(5)]
    first = client.get("/v1/jobs?limit=3").json()
    second = client.get(f"/v1/jobs?limit=3&after={first['next']}").json()
    assert [job["id"] for job in first["data"] + second["data"]] == job_ids[::-1]
    assert second["next"] is None
    client.post(f"/v1/jobs/{job_ids[0]}/cancel")
    assert [job["id"] for job in client.get("/v1/jobs?status=cancelled").json()["data"]] == [
        job_ids[0]
    ]


def test_a_jobs_options_are_kept_and_checked(client: TestClient, faces: str) -> None:
    body = {"folder": faces}
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
        problem_detail(client.post("/v1/jobs", json=body | wrong), 422, "invalid_request")
    headers = {"Idempotency-Key": "k"}
    client.post("/v1/jobs", json=body, headers=headers)
    problem_detail(
        client.post("/v1/jobs", json=body | {"fresh": True}, headers=headers),
        422,
        "idempotency_key_reused",
    )
    assert client.post(f"/v1/jobs/{job['id']}/retry?stale=true").json()["retried"] == 0


def test_retry_says_how_many_images_it_queued(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    response = client.post(f"/v1/jobs/{job['id']}/retry?code=truncated&code=empty")
    assert (response.status_code, response.json()["retried"]) == (202, 0)


def test_a_summary_counts_images_and_has_every_emotion(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    summary = client.get(f"/v1/jobs/{job['id']}/summary").json()
    assert (summary["job_id"], summary["counts"]) == (job["id"], job["counts"])
    assert list(summary["emotions"]) == list(EMOTIONS)
    assert summary["emotions"]["peace"] == {
        "count": 0,
        "mean_score": 0.0,
        "histogram": [0] * 10,
    }
    assert (summary["folders"], summary["folders_left_out"]) == ([], 0)


def test_a_deleted_job_is_gone(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    response = client.delete(f"/v1/jobs/{job['id']}")
    assert (response.status_code, response.content) == (204, b"")
    problem_detail(client.get(f"/v1/jobs/{job['id']}"), 404, "not_found")


@pytest.mark.parametrize(
    "metadata",
    [
        r'{"b": "\ud800"}',
        r'{"\udfff": 1}',
        r'{"b": "\u0000"}',
        '{"b": NaN}',
        '{"b": [Infinity]}',
        '{"a":' * 40 + "1" + "}" * 40,
        '{"b": "' + "x" * 20_000 + '"}',
    ],
    ids=["surrogate", "surrogate key", "NUL", "NaN", "infinity", "deep", "large"],
)
def test_metadata_that_could_not_be_given_back_is_refused_and_nothing_is_stored(
    client: TestClient, faces: str, metadata: str
) -> None:
    response = client.post(
        "/v1/jobs",
        content=f'{{"folder": "{faces}", "metadata": {metadata}}}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422
    assert client.get("/v1/jobs").json()["data"] == []


def test_metadata_of_every_sound_kind_comes_back_as_it_was(client: TestClient, faces: str) -> None:
    metadata = {"name": "Zoë 😀", "n": [1, -2.5, 2.5e10, None, True], "deep": {"a": {"b": {}}}}
    client.post("/v1/jobs", json={"folder": faces, "metadata": metadata})
    assert client.get("/v1/jobs/1").json()["metadata"] == metadata


@pytest.mark.parametrize("field", ["folder", "model"])
def test_text_that_utf8_cannot_hold_is_refused(client: TestClient, faces: str, field: str) -> None:
    body = f'{{"folder": "{faces}", "model": null, "{field}": "/x\\ud800"}}'
    response = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


def test_a_field_name_that_utf8_cannot_hold_is_refused(client: TestClient, faces: str) -> None:
    body = f'{{"folder": "{faces}", "\\ud800": 1}}'
    response = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


def test_a_code_with_a_nul_is_refused(client: TestClient) -> None:
    assert client.post("/v1/jobs/1/retry?code=%00").status_code == 422


def test_jobs_are_filtered_by_folder_metadata_and_times(client: TestClient, faces: str) -> None:
    metadata = {"study": "pilot", "wave": 3}
    job = client.post("/v1/jobs", json={"folder": faces, "metadata": metadata}).json()
    client.post("/v1/jobs", json={"folder": faces})

    def listed(query: str) -> list[int]:
        jobs = client.get(f"/v1/jobs?{query}").raise_for_status().json()["data"]
        return [job["id"] for job in jobs]

    assert listed("metadata.study=pilot&metadata.wave=3") == listed("metadata[wave]=3") == [1]
    assert listed("metadata.study=other") == []
    assert listed(f"folder={faces}") == [2, 1]
    assert listed("folder=/elsewhere") == []
    assert listed("submitted_after=2026-11-01T00:00:00&submitted_before=9999-12-31") == [2, 1]
    assert listed(f"submitted_before={job['queued_at']}") == []
    assert listed("ended_before=9999-12-31T23:59:59-12:00") == []  # None has ended.

    problem_detail(client.get("/v1/jobs?submitted_after=monday"), 422, "invalid_request")
    problem_detail(client.get("/v1/jobs?metadata.study=%00"), 422, "usage")
