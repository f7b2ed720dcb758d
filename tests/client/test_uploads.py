"""Uploads: what is sent, and what is sent again."""

import asyncio
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cuemill_client import (
    AsyncClient,
    Client,
    ConflictError,
    ConnectionFailedError,
    InvalidRequestError,
    LocalFile,
    NotFoundError,
    UploadIncompleteError,
    calls,
)
from models.sources.names import to_bytes
from tests.client.conftest import BASE_URL, CutConnection
from tests.integration.deployment import make_faces


def recorded(api: FastAPI) -> tuple[Client, list[str]]:
    """A client, and the paths that it puts."""
    puts: list[str] = []
    http = TestClient(api)

    def note(request: httpx.Request) -> None:
        if request.method == "PUT":
            puts.append(request.url.path)

    http.event_hooks = {"request": [note]}
    return Client(BASE_URL, http=http), puts


def test_a_folder_is_sent_and_becomes_the_folder_of_a_job(cuemill: Client, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "photos", 2)
    make_faces(folder / "d%2Fé ü", 1)
    upload = cuemill.upload(folder)
    assert (upload.files, upload.job_id) == (3, None)
    sent = {file.path: file.bytes for file in cuemill.uploaded_files(upload)}
    assert sent == {
        str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*.jpg")
    }

    job = cuemill.submit(upload=upload, faces="whole")
    assert job.upload == upload.id
    for name in sent:
        assert Path(job.folder, name).read_bytes() == (folder / name).read_bytes()
    assert cuemill.get_upload(upload.id).job_id == job.id
    with pytest.raises(ConflictError):
        cuemill.delete_upload(upload)


def test_an_upload_goes_on_with_what_is_missing(
    api: FastAPI, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PAGE", 2)
    cuemill, puts = recorded(api)
    upload = cuemill.create_upload()
    cuemill.upload(faces, into=upload)
    assert len(puts) == 3

    puts.clear()
    (faces / "face-00001.jpg").write_bytes(b"changed")
    make_faces(faces / "more", 1)
    assert cuemill.upload(faces, into=upload.id).files == 4
    assert sorted(path.split("/files/")[1] for path in puts) == [
        "face-00001.jpg",
        "more/face-00000.jpg",
    ]


def test_a_connection_that_fails_ends_the_upload_and_keeps_what_is_there(
    api: FastAPI, cuemill: Client, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "many", 40)
    upload = cuemill.create_upload()
    with httpx.Client(transport=CutConnection(api, times=1)) as http:
        cut = Client(BASE_URL, retries=0, http=http)
        with pytest.raises(ConnectionFailedError):
            cut.upload(folder, into=upload)
    there = cuemill.get_upload(upload).files
    assert there < 40
    assert cuemill.upload(folder, into=upload).files == 40


def test_single_files_that_fail_do_not_keep_the_others(
    cuemill: Client, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = faces / "face-00000.jpg"
    files = [
        LocalFile("back\\slash.jpg", good, 1),
        LocalFile("absent.jpg", faces / "absent.jpg", 1),
        LocalFile("good.jpg", good, good.stat().st_size),
    ]
    with pytest.raises(UploadIncompleteError, match="2 files were not uploaded") as incomplete:
        cuemill.upload(files)
    assert incomplete.value.upload.files == 1
    assert incomplete.value.refused.keys() == {"back\\slash.jpg", "absent.jpg"}

    monkeypatch.setattr(calls, "MAX_REFUSED", 1)
    with pytest.raises((OSError, InvalidRequestError), match=r"backslash|absent"):
        cuemill.upload(files)


def test_a_name_that_is_no_text_arrives(cuemill: Client, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "photos", 1)
    (folder / "face-00000.jpg").rename(folder / "caf\udce9.jpg")
    upload = cuemill.upload(folder)
    (file,) = cuemill.uploaded_files(upload)
    assert to_bytes(file.path) == b"caf\xe9.jpg"


def test_the_async_client_sends_the_same(api: FastAPI, faces: Path) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport) as http:
            cuemill = AsyncClient(BASE_URL, http=http)
            upload = await cuemill.upload(faces)
            assert upload.files == 3
            files = [LocalFile("absent.jpg", faces / "absent.jpg", 1)]
            with pytest.raises(UploadIncompleteError):
                await cuemill.upload(files, into=upload)
            await cuemill.delete_upload(upload)
            with pytest.raises(NotFoundError):
                await cuemill.get_upload(upload)

    asyncio.run(run())
