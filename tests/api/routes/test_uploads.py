"""Uploads file by file: what arrives, what is refused, and what is left behind."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.context import Context
from models.sources import spool as spool_module
from models.store import uploads
from models.store.database import Database
from tests.api.responses import problem_detail


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: tests/models/store/test_uploads.py tries the statements on both databases."""
    return f"sqlite:///{tmp_path / 'cuemill.db'}"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def upload(client: TestClient) -> str:
    """The URL of an upload without files."""
    response = client.post("/v1/uploads")
    assert response.status_code == 201
    return response.headers["Location"]


def limit(client: TestClient, **settings: Any) -> None:
    """Changes settings of a client's application."""
    api: Any = client.app
    context: Context = api.state.context
    api.state.context = replace(context, settings=context.settings.model_copy(update=settings))


def stream(
    client: TestClient, method: str, path: str, parts: Iterator[bytes], headers: Any = None
) -> tuple[int, int]:
    """Sends a body that ends, if it does, by a cut. Returns the status, and how much was read."""
    read = 0
    statuses = []

    async def receive() -> dict[str, Any]:
        nonlocal read
        part = next(parts, None)
        if part is None:
            return {"type": "http.disconnect"}
        read += 1
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    pairs = {"host": "localhost", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
    }
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    return statuses[0], read


def files_in(spool: Path) -> dict[str, bytes]:
    """All files of the spool, below their uploads, those that arrive included."""
    return {
        str(path.relative_to(path.parents[len(path.relative_to(spool).parts) - 2])): (
            path.read_bytes()
        )
        for path in spool.rglob("*")
        if path.is_file()
    }


def test_files_are_put_one_by_one_and_become_a_job(
    client: TestClient, upload: str, spool: Path, announced: list[bool]
) -> None:
    for name in ("b.jpg", "a/c%20%C3%A9.jpg"):
        response = client.put(f"{upload}/files/{name}", content=b"x" * 9)
        assert response.status_code == 201

    assert client.get(f"{upload}/files").json()["data"] == [
        {"path": "a/c é.jpg", "bytes": 9},
        {"path": "b.jpg", "bytes": 9},
    ]
    body = client.get(upload).json()
    assert (body["files"], body["bytes"], body["job_id"]) == (2, 18, None)
    assert files_in(spool) == {"files/b.jpg": b"x" * 9, "files/a/c é.jpg": b"x" * 9}

    response = client.post("/v1/jobs", json={"upload": body["id"]})
    assert response.status_code == 202
    job = response.json()
    assert (job["upload"], announced) == (body["id"], [True])
    assert Path(job["folder"]) == spool / body["id"] / "files"
    assert client.get(upload).json()["job_id"] == job["id"]


def test_only_this_user_can_read_the_spool(client: TestClient, upload: str, spool: Path) -> None:
    client.put(f"{upload}/files/a/b.jpg", content=b"x")
    paths = [spool, *spool.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o700, 0o600}


def test_a_repeated_file_replaces_the_first_and_counts_once(
    client: TestClient, upload: str, spool: Path
) -> None:
    statuses = [
        client.put(f"{upload}/files/a.jpg", content=content).status_code
        for content in (b"one", b"one", b"three")
    ]
    assert statuses == [201, 200, 200]
    assert files_in(spool) == {"files/a.jpg": b"three"}
    body = client.get(upload).json()
    assert (body["files"], body["bytes"]) == (1, 5)


def test_files_are_listed_in_pages(client: TestClient, upload: str) -> None:
    for number in range(5):
        client.put(f"{upload}/files/{number}.jpg", content=b"x")

    pages = []
    page = {"next": None, "has_more": True}
    while page["has_more"]:
        after = {"after": page["next"]} if page["next"] else {}
        page = client.get(f"{upload}/files", params={"limit": 2, **after}).json()
        pages.append([file["path"] for file in page["data"]])
    assert pages == [["0.jpg", "1.jpg"], ["2.jpg", "3.jpg"], ["4.jpg"]]


UNSAFE: list[str] = [
    "%2e%2e/a.jpg",
    "a/%2e%2e/%2e%2e/%2e%2e/b.jpg",
    "%2fetc/passwd",
    "C:/a.jpg",
    "a%00.jpg",
    "a%5Cb.jpg",
    "x" * 256,
    "d/" * 33 + "a.jpg",
    "/".join(["x" * 200] * 6),
    "%2e",
]


def test_a_name_that_is_not_safe_is_refused(client: TestClient, upload: str, spool: Path) -> None:
    for name in UNSAFE:
        problem_detail(client.put(f"{upload}/files/{name}", content=b"x"), 422, "usage")
        assert files_in(spool) == {}, name


def test_a_name_that_is_no_utf_8_is_kept(client: TestClient, upload: str, spool: Path) -> None:
    response = client.put(f"{upload}/files/%FF%ED%A0%80.jpg", content=b"x")
    assert response.json()["path"] == r"\xff\xed\xa0\x80.jpg"
    assert [path.name for path in spool.rglob("*.jpg")] == ["\udcff\udced\udca0\udc80.jpg"]


def test_a_file_is_no_folder(client: TestClient, upload: str) -> None:
    client.put(f"{upload}/files/a.jpg", content=b"x")
    client.put(f"{upload}/files/b/c.jpg", content=b"x")
    problem_detail(client.put(f"{upload}/files/a.jpg/b.jpg", content=b"x"), 422, "usage")
    problem_detail(client.put(f"{upload}/files/b", content=b"x"), 422, "usage")


def test_what_is_beyond_the_limits_is_refused_and_leaves_nothing(
    client: TestClient, upload: str, spool: Path
) -> None:
    limit(client, upload_files=2, upload_file_bytes=10, upload_bytes=15)
    client.put(f"{upload}/files/a.jpg", content=b"x" * 10)

    for content, setting in ((b"x" * 11, "FILE_BYTES"), (b"x" * 6, "UPLOAD_BYTES")):
        response = client.put(f"{upload}/files/b.jpg", content=content)
        assert setting in problem_detail(response, 413, "content_too_large")
        assert files_in(spool) == {"files/a.jpg": b"x" * 10}

    assert client.put(f"{upload}/files/b.jpg", content=b"x").status_code == 201
    problem_detail(client.put(f"{upload}/files/c.jpg", content=b"x"), 413, "content_too_large")
    assert set(files_in(spool)) == {"files/a.jpg", "files/b.jpg"}
    assert client.get(upload).json()["files"] == 2


def test_an_endless_body_is_cut_at_the_limit(client: TestClient, upload: str, spool: Path) -> None:
    limit(client, upload_file_bytes=2**20)
    status, read = stream(client, "PUT", f"{upload}/files/a.jpg", repeat(b"x" * 65_536))
    assert status == 413
    assert read < 100
    assert files_in(spool) == {}


def test_a_full_disk_is_a_507_and_leaves_nothing(
    client: TestClient, upload: str, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "KEEP_FREE_BYTES", 2**62)
    response = client.put(f"{upload}/files/a.jpg", content=b"x")
    assert "full" in problem_detail(response, 507, "spool_full")
    assert files_in(spool) == {}
    problem_detail(client.post("/v1/uploads"), 507, "spool_full")


@pytest.mark.parametrize("small_disk", ["1m"], indirect=True)
def test_a_disk_that_fills_up_is_a_507_and_leaves_nothing(
    client: TestClient, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "KEEP_FREE_BYTES", 0)
    limit(client, spool=small_disk / "spool")
    upload = client.post("/v1/uploads").headers["Location"]
    response = client.put(f"{upload}/files/a.jpg", content=b"x" * 2**21)
    problem_detail(response, 507, "spool_full")
    assert files_in(small_disk / "spool") == {}


def test_a_spool_that_cannot_be_written_is_a_503(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    limit(client, spool=tmp_path / "file/spool")
    response = client.post("/v1/uploads")
    assert "CUEMILL_SPOOL" in problem_detail(response, 503, "spool")
    assert response.headers["Retry-After"]


def test_an_upload_without_files_is_no_job(client: TestClient, upload: str) -> None:
    upload_id = upload.rsplit("/", 1)[1]
    detail = problem_detail(client.post("/v1/jobs", json={"upload": upload_id}), 422, "usage")
    assert "no files" in detail


def test_an_upload_has_one_job_and_then_takes_no_more_files(
    client: TestClient, upload: str, spool: Path
) -> None:
    client.put(f"{upload}/files/a.jpg", content=b"x")
    body = {"upload": upload.rsplit("/", 1)[1]}
    headers = {"Idempotency-Key": "k"}
    job = client.post("/v1/jobs", json=body, headers=headers).json()

    assert client.post("/v1/jobs", json=body, headers=headers).json() == job
    for response in (
        client.post("/v1/jobs", json=body),
        client.put(f"{upload}/files/b.jpg", content=b"x"),
        client.delete(upload),
    ):
        assert f"job {job['id']}" in problem_detail(response, 409, "upload_used")
    assert set(files_in(spool)) == {"files/a.jpg"}


def test_a_job_names_a_folder_or_an_upload_but_not_both(client: TestClient, faces: str) -> None:
    for body in ({"folder": faces, "upload": "0" * 32}, {"upload": "../x"}, {"upload": ""}):
        problem_detail(client.post("/v1/jobs", json=body), 422, "invalid_request")
    problem_detail(client.post("/v1/jobs", json={"upload": "0" * 32}), 404, "not_found")


def test_the_files_go_with_their_job(client: TestClient, upload: str, spool: Path) -> None:
    client.put(f"{upload}/files/a/b.jpg", content=b"x")
    job = client.post("/v1/jobs", json={"upload": upload.rsplit("/", 1)[1]}).json()
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert list(spool.iterdir()) == []
    problem_detail(client.get(upload), 404, "not_found")


def test_a_deleted_upload_leaves_nothing(client: TestClient, upload: str, spool: Path) -> None:
    client.put(f"{upload}/files/a/b.jpg", content=b"x")
    assert client.delete(upload).status_code == 204
    assert list(spool.iterdir()) == []
    for response in (
        client.get(upload),
        client.get(f"{upload}/files"),
        client.put(f"{upload}/files/b.jpg", content=b"x"),
        client.delete(upload),
    ):
        problem_detail(response, 404, "not_found")


def test_the_spool_is_no_folder_for_jobs_nor_trainings(
    client: TestClient, upload: str, spool: Path, tmp_path: Path
) -> None:
    client.put(f"{upload}/files/b.jpg", content=b"x")
    (tmp_path / "link").symlink_to(spool)
    for path in (spool, spool / upload.rsplit("/", 1)[1] / "files", tmp_path / "link"):
        response = client.post("/v1/jobs", json={"folder": str(path)})
        problem_detail(response, 403, "outside_roots")
        response = client.post("/v1/trainings", json={"data": [str(path)]})
        problem_detail(response, 403, "outside_roots")

    above = client.post("/v1/jobs", json={"folder": str(tmp_path), "system_folders": True})
    assert above.json()["exclude"] == ["/spool"]


def test_a_page_of_another_site_uploads_nothing(
    client: TestClient, upload: str, spool: Path
) -> None:
    headers = {"Origin": "https://evil.example"}
    response = client.put(f"{upload}/files/a.jpg", content=b"x", headers=headers)
    problem_detail(response, 403, "cross_site")
    assert files_in(spool) == {}


def test_files_that_arrive_at_once_cannot_exceed_a_limit_together(
    client: TestClient, upload: str, spool: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(client, upload_files=1)
    get = uploads.get

    def get_before_another_arrives(*arguments: Any, **options: Any) -> uploads.UploadView:
        view = get(*arguments, **options)
        monkeypatch.setattr(uploads, "get", get)
        client.put(f"{upload}/files/a.jpg", content=b"x")
        return view

    monkeypatch.setattr(uploads, "get", get_before_another_arrives)
    response = client.put(f"{upload}/files/b.jpg", content=b"x")
    problem_detail(response, 413, "content_too_large")
    assert set(files_in(spool)) == {"files/a.jpg"}
