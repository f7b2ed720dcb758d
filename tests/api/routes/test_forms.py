"""Jobs that come with their files in one request."""

import io
import json
import zipfile
from itertools import chain, count, repeat
from pathlib import Path
from typing import Any

import httpx2 as httpx
import PIL.Image
import pytest
from fastapi.testclient import TestClient

from api import context as context_module
from models.settings import Settings
from models.sources import spool as spool_module
from models.store.database import Database
from models.store.tables import Job, Upload
from tests.api.responses import problem_detail
from tests.api.routes.test_uploads import files_in, limit, stream
from tests.builders import count_rows
from worker.pipeline import Pipeline
from worker.scan import scan

BOUNDARY = "0123456789"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: tests/models/store/test_uploads.py tries the statements on both databases."""
    return f"sqlite:///{tmp_path / 'cuemill.db'}"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def send(client: TestClient, *parts: tuple[str, Any], **headers: str) -> httpx.Response:
    return client.post("/v1/jobs", files=list(parts), headers=headers)


def file(name: str, content: bytes = b"x") -> tuple[str, tuple[str, bytes]]:
    return ("files", (name, content))


def options(**values: Any) -> tuple[str, tuple[None, str]]:
    return ("job", (None, json.dumps(values)))


def zipped(**contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def raw(name: bytes, content: bytes = b"x", kind: bytes = b"files") -> bytes:
    return b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n' % (
        BOUNDARY.encode(),
        kind,
        name,
        content,
    )


END = f"--{BOUNDARY}--\r\n".encode()


def test_files_come_with_their_job(client: TestClient, spool: Path, announced: list[bool]) -> None:
    response = send(
        client,
        file("holidays/é.jpg", b"one"),
        options(metadata={"study": 7}, recursive=False),
        file("b.jpg", b"two"),
    )
    assert response.status_code == 202
    job = response.json()
    assert (job["metadata"], job["recursive"], announced) == ({"study": 7}, False, [True])
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert files_in(spool) == {"files/holidays/é.jpg": b"one", "files/b.jpg": b"two"}
    upload = client.get(f"/v1/uploads/{job['upload']}").json()
    assert (upload["files"], upload["bytes"], upload["job_id"]) == (2, 6, job["id"])


def test_uploaded_pictures_are_classified_shown_and_reused(
    client: TestClient, db: Database, tiny_model: Path
) -> None:
    settings = Settings(_env_file=None, model=tiny_model)

    def classify() -> dict[str, Any]:
        files = [file(name, jpeg(shade)) for shade, name in enumerate(("b.jpg", "a é/c.jpg"))]
        job = send(client, *files, options(faces="whole")).json()
        assert scan(db, settings, "worker", job["id"], lambda: None, lambda: None)
        assert Pipeline(db, settings, "h:2:t", "h:1:t").run()
        ended: dict[str, Any] = client.get(f"/v1/jobs/{job['id']}").json()
        return ended

    first, second = classify(), classify()
    assert (first["status"], first["reused"], second["reused"]) == ("completed", 0, 2)
    results = client.get(f"/v1/jobs/{second['id']}/results").json()["data"]
    assert [result["path"] for result in results] == ["a é/c.jpg", "b.jpg"]
    assert client.get(f"/v1/jobs/{first['id']}/images/0/thumbnail").status_code == 200


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (48, 48), (40 * shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_an_archive_comes_with_its_job_and_names_what_it_left_out(
    client: TestClient, spool: Path
) -> None:
    content = zipped(**{"a/b.jpg": b"one", "../c.jpg": b"two", "more.zip": b"three"})
    job = send(client, ("archive", ("photos.zip", content))).json()
    assert files_in(spool) == {"files/a/b.jpg": b"one"}
    upload = client.get(f"/v1/uploads/{job['upload']}").json()
    assert upload["skipped_files"] == 2
    assert [file["path"] for file in upload["skipped"]] == ["../c.jpg", "more.zip"]
    assert all(file["reason"] for file in upload["skipped"])
    assert client.get(f"/v1/uploads/{job['upload']}/files").json()["data"] == [
        {"path": "a/b.jpg", "bytes": 3}
    ]


def test_the_same_form_with_the_same_key_is_the_same_job(client: TestClient, spool: Path) -> None:
    key = {"Idempotency-Key": "k"}
    first = send(client, file("a.jpg"), **key).json()
    assert send(client, file("a.jpg"), **key).json() == first
    for other in (file("b.jpg"), file("a.jpg", b"y")):
        problem_detail(send(client, other, **key), 422, "idempotency_key_reused")
    assert [folder.name for folder in spool.iterdir()] == [first["upload"]]


REFUSED: list[tuple[bytes, int]] = [
    (b"", 422),
    (END, 422),
    (raw(b"a.jpg"), 422),
    (raw(b"a.jpg")[:-5], 422),
    (raw(b"a.jpg") + raw(b"a.jpg") + END, 422),
    (raw(b"a.jpg") + raw(b"../b.jpg") + END, 422),
    (raw(b"/etc/passwd") + END, 422),
    (raw(b"") + END, 422),
    (raw(b"a.jpg", kind=b"photos") + END, 422),
    (raw(b"a.jpg") + raw(b"a.zip", kind=b"archive") + END, 422),
    (raw(b"a.zip", zipped(**{"a.jpg": b"x"}), kind=b"archive") + raw(b"b.jpg") + END, 422),
    (raw(b"a.zip", b"no archive", kind=b"archive") + END, 422),
    (raw(b"a.jpg") + raw(b"", b"{", kind=b"job") + END, 422),
    (raw(b"a.jpg") + raw(b"", b'{"folder": "/x"}', kind=b"job") + END, 422),
    (raw(b"a.jpg") + raw(b"", b'{"model": "absent"}', kind=b"job") + END, 404),
    (raw(b"a.jpg") + raw(b"", b"{}" + b" " * 70_000, kind=b"job") + END, 422),
    (raw(b"a.jpg") + raw(b"x" * 20_000) + END, 422),
    (raw(b"a.jpg") + b"no boundary", 422),
]


def test_a_form_that_is_refused_leaves_nothing(
    client: TestClient, db: Database, spool: Path
) -> None:
    for body, status in REFUSED:
        response = client.post("/v1/jobs", content=body, headers=HEADERS)
        assert response.status_code == status, (body[:200], response.text)
        assert response.json()["detail"]
        assert list(spool.iterdir()) == [], body[:200]
        assert count_rows(db, Upload) == count_rows(db, Job) == 0


@pytest.mark.parametrize("method_path", ["POST /v1/jobs", "PUT {upload}/files/a.jpg"])
def test_a_connection_that_is_cut_leaves_nothing(
    client: TestClient, db: Database, spool: Path, method_path: str
) -> None:
    upload = client.post("/v1/uploads").headers["Location"]
    method, path = method_path.format(upload=upload).split()
    body = raw(b"a.jpg", b"x" * 10**6)
    status, read = stream(client, method, path, iter([body[:500_000], body[500_000:-5]]), HEADERS)
    assert (status, read) == (400, 2)
    assert files_in(spool) == {}
    assert count_rows(db, Upload) == 1
    assert client.get(upload).json()["files"] == 0


@pytest.mark.parametrize("start", [b"", raw(b"a.jpg") + END], ids=["before", "after"])
def test_an_endless_form_around_its_parts_is_refused(
    client: TestClient, spool: Path, start: bytes
) -> None:
    limit(client, upload_bytes=10**5, upload_files=2)
    endless = chain([start], repeat(b"\r\n" * 10_000))
    status, read = stream(client, "POST", "/v1/jobs", endless, HEADERS)
    assert status == 413
    assert read < 1_000
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("method_path", ["POST /v1/jobs", "PUT {upload}/files/a.jpg"])
def test_so_many_uploads_arrive_at_a_time_and_no_more(
    client: TestClient, spool: Path, monkeypatch: pytest.MonkeyPatch, method_path: str
) -> None:
    upload = client.post("/v1/uploads").headers["Location"]
    method, path = method_path.format(upload=upload).split()
    monkeypatch.setattr(context_module, "ARRIVALS", 0)
    response = client.request(method, path, content=raw(b"a.jpg") + END, headers=HEADERS)
    problem_detail(response, 503, "busy")
    assert response.headers["Retry-After"]
    assert files_in(spool) == {}


def test_a_form_without_a_boundary_is_refused(client: TestClient, spool: Path) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    response = client.post("/v1/jobs", content=b"x", headers=headers)
    assert "boundary" in problem_detail(response, 422, "usage")
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    "limits",
    [{"upload_files": 2}, {"upload_bytes": 25}, {"upload_file_bytes": 9}],
    ids=lambda limits: next(iter(limits)),
)
def test_a_form_beyond_a_limit_is_refused_while_it_arrives(
    client: TestClient, db: Database, spool: Path, limits: dict[str, int]
) -> None:
    limit(client, **limits)
    endless = (raw(b"%d.jpg" % number, b"x" * 10) for number in count())
    status, read = stream(client, "POST", "/v1/jobs", endless, HEADERS)
    assert status == 413
    assert read < 10_000
    assert list(spool.iterdir()) == []
    assert count_rows(db, Upload) == 0


@pytest.mark.parametrize("small_disk", ["1m"], indirect=True)
@pytest.mark.parametrize("kind", ["files", "archive"])
def test_a_disk_that_fills_up_leaves_nothing(
    client: TestClient, small_disk: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(spool_module, "KEEP_FREE_BYTES", 0)
    limit(client, spool=small_disk / "spool")
    content = b"x" * 2**21
    if kind == "archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.jpg", content)
        content = buffer.getvalue()
    problem_detail(send(client, (kind, ("a.jpg", content))), 507, "spool_full")
    assert list((small_disk / "spool").iterdir()) == []


def test_a_page_of_another_site_sends_no_form(client: TestClient, spool: Path) -> None:
    response = send(client, file("a.jpg"), Origin="https://evil.example")
    problem_detail(response, 403, "cross_site")
    assert not spool.exists()
