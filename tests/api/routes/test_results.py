"""Routes of results."""

import csv
import json
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.context import Context
from models.errors import NotFoundError
from models.settings import Settings
from models.store import batches, deletion, jobs, results
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord
from models.store.results import Record
from models.store.states import Outcome
from tests.api.responses import problem_detail
from tests.api.serving import serving
from tests.builders import LEASE_S, SCORES, claim_batch, list_folder, queue_job, records_of


@pytest.mark.parametrize(
    "path",
    [
        "/v1/results?min_score=2",
        "/v1/results?outcome=odd",
        "/v1/results?path_prefix=%00",
        "/v1/results?min_face=0",
        "/v1/results?min_confidence=80",
        "/v1/results?max_faces=99999999999",
    ],
)
def test_malformed_parameters_are_a_problem(client: TestClient, path: str) -> None:
    problem_detail(client.get(path), 422, "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/results?after=1.2",
        "/v1/results?after=9.9.99999999999999999999",
        "/v1/results?emotion=joy",
    ],
)
def test_invalid_cursors_and_unknown_emotions_are_a_problem(client: TestClient, path: str) -> None:
    problem_detail(client.get(path), 422, "usage")


def test_a_page_without_results_is_empty_and_the_last(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    empty: dict[str, Any] = {"data": [], "has_more": False, "next": None}
    assert client.get("/v1/results").json() == empty
    assert client.get(f"/v1/jobs/{job['id']}/results?emotion=peace").json() == empty


def test_faces_are_filtered_by_size_confidence_and_their_number(
    client: TestClient, db: Database, faces: str
) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    list_folder(db, jobs.get(db, job["id"]), 3)
    claim = claim_batch(db)
    large = FaceRecord(SCORES, (0, 0, 90, 120), 0.95, 2.5)
    small = FaceRecord(SCORES, (100, 0, 20, 30), 0.75, 0.0)
    rows = [
        ImageRecord(0, "000.jpg", Outcome.CLASSIFIED, faces=[large, small]),
        ImageRecord(1, "001.jpg", Outcome.CLASSIFIED, faces=[FaceRecord(SCORES)]),
        ImageRecord(2, "002.jpg", Outcome.NO_FACE),
    ]
    batches.complete(db, claim, rows)

    def kept(conditions: str) -> list[str]:
        results = client.get(f"/v1/jobs/{job['id']}/results?{conditions}").json()["data"]
        return [result["path"] for result in results]

    assert kept("min_faces=2&min_face=60") == kept("min_confidence=0.9") == ["000.jpg"]
    assert kept("min_faces=1&max_faces=1") == ["001.jpg"]
    assert kept("max_faces=0") == ["002.jpg"]

    lines = client.get(f"/v1/jobs/{job['id']}/results.jsonl?min_face=60").text.splitlines()
    face = {"index": 0, "box": {"x": 0, "y": 0, "width": 90, "height": 120}, "roll": 2.5}
    assert [json.loads(line)["face"] for line in lines] == [
        face | {"confidence": pytest.approx(0.95)}
    ]

    table = client.get(f"/v1/jobs/{job['id']}/results.csv?min_face=60").text.splitlines()
    (row,) = csv.DictReader(table)
    columns = ("face_index", "box_x", "box_y", "box_width", "box_height", "face_roll")
    assert [row[column] for column in columns] == ["0", "0", "0", "90", "120", "2.5"]
    assert float(row["face_confidence"]) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("ending", "encoding"), [("csv", "gzip"), ("jsonl", "identity"), ("parquet", "identity")]
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_download_whose_job_is_deleted_meanwhile_breaks_off(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch, ending: str, encoding: str
) -> None:
    list_folder(db, queue_job(db, release_id), 8)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, records_of(claim))
    page = results.page

    def page_before_deletion(db: Database, *arguments: Any) -> list[Record]:
        records = page(db, *arguments)
        with suppress(NotFoundError):
            deletion.delete(db, 1)
        return records

    monkeypatch.setattr(results, "PAGE", 4)
    monkeypatch.setattr(results, "page", page_before_deletion)
    settings = Settings(_env_file=None)
    context = Context(db, settings, announce=lambda: None, ping_queue=lambda: None)
    with serving(context) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/v1/jobs/1/results.{ending}", headers={"Accept-Encoding": encoding})


def test_streams_are_whole_and_named(client: TestClient, faces: str) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    response = client.get(f"/v1/jobs/{job['id']}/results.csv")
    assert response.headers["Content-Disposition"] == f'attachment; filename="job-{job["id"]}.csv"'
    assert response.text.splitlines()[0].startswith("job_id,path,outcome,")
    assert client.get(f"/v1/jobs/{job['id']}/results.jsonl").text == ""


def test_results_are_filtered_by_ranges_of_scores(
    client: TestClient, db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 2)
    claim = claim_batch(db)
    first, second = records_of(claim)
    fearful = np.eye(28, dtype=np.float32)[15]
    batches.complete(db, claim, [first, replace(second, faces=[FaceRecord(fearful)])])

    def paths(query: str) -> list[str]:
        page = client.get(f"/v1/jobs/1/results?{query}").raise_for_status().json()
        return [result["path"] for result in page["data"]]

    assert paths("score.fear=gte:0.4") == paths("score.fear=gte:0.4&glob=*1.jpg") == ["001.jpg"]
    assert paths("score.fear=gt:0.01&score.fear=lt:0.4") == ["000.jpg"]

    lines = client.get("/v1/jobs/1/results.jsonl?score.fear=gte:0.4").text.splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["001.jpg"]

    detail = problem_detail(client.get("/v1/results?score.joy=gte:0.4"), 422, "usage")
    assert "score.affection" in detail
    problem_detail(client.get("/v1/results?score.fear=0.4"), 422, "invalid_request")
    problem_detail(client.get("/v1/results?score.fear=gte:1.5"), 422, "invalid_request")


def test_results_are_sorted_by_scores_and_a_cursor_keeps_to_its_order(
    client: TestClient, db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 3)
    claim = claim_batch(db)
    rows = [
        replace(row, faces=[FaceRecord(SCORES + fear * np.eye(28, dtype=np.float32)[15])])
        for row, fear in zip(records_of(claim), (0.2, 0.0, 0.5), strict=True)
    ]
    batches.complete(db, claim, rows)

    seen = []
    path = "/v1/jobs/1/results?sort=-score.fear&limit=1"
    while path:
        response = client.get(path)
        seen += [result["path"] for result in response.json()["data"]]
        path = response.links.get("next", {}).get("url", "")
    assert seen == ["002.jpg", "000.jpg", "001.jpg"]
    lines = client.get("/v1/jobs/1/results.jsonl?sort=-score.fear").text.splitlines()
    assert [json.loads(line)["path"] for line in lines] == seen

    exported = client.get("/v1/jobs/1/results.csv?sort=-score.fear").text.splitlines()
    assert [row["path"] for row in csv.DictReader(exported)] == seen

    cursor = client.get("/v1/jobs/1/results?sort=score&limit=1").json()["next"]
    refused = client.get("/v1/jobs/1/results", params={"sort": "-score", "after": cursor})
    assert "sorted by score, not by -score" in problem_detail(refused, 409, "cursor_mismatch")

    problem_detail(client.get("/v1/jobs/1/results?sort=score.joy"), 422, "usage")
    problem_detail(client.get("/v1/results?sort=score"), 422, "usage")


def test_parquet_without_its_extra_is_a_problem(
    client: TestClient, faces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    response = client.get(f"/v1/jobs/{job['id']}/results.parquet")
    assert 'pip install "cuemill[parquet]"' in problem_detail(response, 422, "usage")
