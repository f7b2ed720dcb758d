"""Both clients against the API in this process."""

import asyncio
import inspect
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pandas
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cuemill_client import (
    ApiError,
    AsyncClient,
    Client,
    ConnectionFailedError,
    ForbiddenError,
    IdempotencyError,
    InvalidAnswerError,
    InvalidRequestError,
    Job,
    JobFailedError,
    NotFoundError,
    WaitTimeoutError,
    calls,
)
from models.store import batches, cancellation, jobs
from models.store.database import Database
from models.store.states import Outcome
from tests.builders import claim_batch, list_folder, records_of
from tests.client.conftest import BASE_URL, CutConnection
from tests.services import free_port


def finish(database: Database, job: Job, images: int) -> None:
    """Does what a worker would: classifies all images of a job but the last, which has no face."""
    list_folder(database, jobs.get(database, job.id), images, batch_size=1)
    for number in range(images):
        claim = claim_batch(database)
        outcome = Outcome.CLASSIFIED if number < images - 1 else Outcome.NO_FACE
        batches.complete(database, claim, records_of(claim, outcome))


@contextmanager
def another_program(folder: Path) -> Iterator[str]:
    """The address of a server that has files of a folder, and no API."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_job_is_submitted_waited_for_read_and_deleted(
    cuemill: Client, database: Database, faces: Path
) -> None:
    job = cuemill.submit(faces, min_face=30, metadata={"study": 7})
    assert (job.folder, job.metadata, job.detection.min_face) == (str(faces), {"study": 7}, 30)
    assert not job.has_ended
    assert list(cuemill.jobs(metadata={"study": 7}, submitted_after=job.queued_at)) == [job]
    assert list(cuemill.jobs(submitted_before=job.queued_at - timedelta(seconds=1))) == []
    assert cuemill.job(job) == cuemill.job(job.id)

    finish(database, job, images=3)
    done = cuemill.wait(job)
    assert (done.status, done.counts.classified, done.has_ended) == ("completed", 2, True)
    assert done.completed_at is not None
    assert done.completed_at >= job.queued_at

    results = list(cuemill.results(done))
    assert [result.outcome for result in results] == ["classified", "classified", "no_face"]
    assert results[0].scores is not None
    assert results[0].score == max(results[0].scores.values())
    assert [result.path for result in cuemill.results(done, outcome="no_face")] == ["002.jpg"]
    top, score = results[0].emotion, results[0].score
    assert top is not None
    assert list(cuemill.results(done, score={top: f"gte:{score}"})) == results[:2]
    assert list(cuemill.results(done, sort="score")) == results[:2]
    assert not list(cuemill.results(done, score={top: ["gte:0", f"lt:{score}"], "peace": "lt:1"}))
    assert cuemill.results(done).to_polars().height == 3

    assert cuemill.summary(done).faces == 2
    (release,) = cuemill.models()
    assert release.is_default
    assert cuemill.model(release) == cuemill.model(release.id) == release
    cuemill.delete(done)
    assert list(cuemill.jobs()) == []


def test_a_data_frame_of_results_equals_their_csv(
    api: FastAPI, cuemill: Client, database: Database, faces: Path
) -> None:
    job = cuemill.submit(faces)
    finish(database, job, images=3)
    frame = cuemill.results(job).to_pandas()
    csv = TestClient(api, base_url=BASE_URL).get(f"/v1/jobs/{job.id}/results.csv").text
    pandas.testing.assert_frame_equal(
        frame, pandas.read_csv(io.StringIO(csv), dtype=frame.dtypes.to_dict())
    )


def test_a_list_is_read_page_by_page_and_anew(
    cuemill: Client, database: Database, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PAGE", 2)
    first, *_ = [cuemill.submit(faces) for _ in range(5)]
    listed = cuemill.jobs(status="queued")
    assert [[job.id for job in page] for page in listed.pages()] == [[5, 4], [3, 2], [1]]
    cuemill.cancel(first)
    assert [job.id for job in listed] == [5, 4, 3, 2]


def test_the_async_client_does_the_same(api: FastAPI, database: Database, faces: Path) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app=api)
        async with (
            httpx.AsyncClient(transport=transport) as http,
            AsyncClient(BASE_URL, http=http) as cuemill,
        ):
            job = await cuemill.submit(faces)
            with pytest.raises(WaitTimeoutError, match=f"Job {job.id} is still queued"):
                await cuemill.wait(job, timeout_s=0.1)
            finish(database, job, images=2)
            assert (await cuemill.wait(job)).status == "completed"
            assert [result.path async for result in cuemill.results(job)] == ["000.jpg", "001.jpg"]
            assert (await cuemill.results(job).to_polars()).height == 2
            assert [listed.id async for listed in cuemill.jobs()] == [job.id]
            with pytest.raises(NotFoundError):
                await cuemill.job(99)

    asyncio.run(run())


def test_both_clients_have_the_same_calls() -> None:
    def signatures(kind: type) -> dict[str, Any]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: inspect.signature(method).parameters
            for name, method in methods
            if not name.startswith("_")
        }

    assert signatures(Client) == signatures(AsyncClient)


def test_a_job_that_is_submitted_twice_because_the_answer_was_lost_is_one_job(
    api: FastAPI, faces: Path
) -> None:
    with httpx.Client(transport=CutConnection(api, times=1)) as http:
        cuemill = Client(BASE_URL, http=http)
        job = cuemill.submit(faces)
        assert [listed.id for listed in cuemill.jobs()] == [job.id]


def test_a_deletion_whose_answer_was_lost_has_succeeded(api: FastAPI, faces: Path) -> None:
    cuemill = Client(BASE_URL, http=TestClient(api))
    job = cuemill.cancel(cuemill.submit(faces))
    with httpx.Client(transport=CutConnection(api, times=1)) as http:
        Client(BASE_URL, http=http).delete(job)
    with pytest.raises(NotFoundError):
        cuemill.delete(job)


def test_what_may_not_be_repeated_fails_with_the_connection(api: FastAPI, faces: Path) -> None:
    job = Client(BASE_URL, http=TestClient(api)).submit(faces)
    with (
        httpx.Client(transport=CutConnection(api, times=1)) as http,
        pytest.raises(ConnectionFailedError, match="connection reset"),
    ):
        Client(BASE_URL, http=http).retry(job)


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda cuemill, _: cuemill.job(99), NotFoundError, "not_found"),
        (lambda cuemill, _: cuemill.submit("/etc"), ForbiddenError, "outside_roots"),
        (lambda cuemill, faces: cuemill.submit(faces / "x"), InvalidRequestError, "folder"),
        (
            lambda cuemill, faces: cuemill.submit(faces, min_face=0),
            InvalidRequestError,
            "invalid_request",
        ),
        (
            lambda cuemill, faces: [
                cuemill.submit(faces, fresh=fresh, idempotency_key="monday")
                for fresh in (True, False)
            ],
            IdempotencyError,
            "idempotency_key_reused",
        ),
    ],
)
def test_an_error_has_a_type_a_code_and_a_sentence(
    cuemill: Client,
    faces: Path,
    call: Callable[[Client, Path], object],
    kind: type[InvalidRequestError],
    code: str,
) -> None:
    with pytest.raises(kind) as refused:
        call(cuemill, faces)
    assert refused.value.code == code
    assert refused.value.detail.endswith((".", "1"))


def test_an_error_names_the_field_and_the_request(cuemill: Client, faces: Path) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        cuemill.submit(faces, min_face=0)
    (field,) = refused.value.errors
    assert field["pointer"] == "#/min_face"
    assert refused.value.request_id


def test_a_misspelt_filter_or_option_is_refused_before_it_is_sent(cuemill: Client) -> None:
    with pytest.raises(TypeError, match="unknown: emotoin; expected: emotion, min_score"):
        cuemill.results(1, emotoin="fear")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown: modell"):
        cuemill.submit("/faces", modell="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="either a folder"):
        cuemill.submit()


def test_waiting_for_a_job_that_fails_says_why(
    cuemill: Client, database: Database, faces: Path
) -> None:
    job = cuemill.submit(faces)
    cancellation.fail_job(database, job.id, "folder", "The folder is gone.")
    with pytest.raises(JobFailedError, match="Job 1 failed: The folder is gone") as failed:
        cuemill.wait(job)
    assert failed.value.job.error is not None
    assert failed.value.job.error.code == "folder"


def test_an_address_that_is_no_cuemill_is_said(tmp_path: Path) -> None:
    (tmp_path / "v1" / "jobs" / "4").mkdir(parents=True)
    (tmp_path / "v1" / "jobs" / "1").write_text("<html>")
    (tmp_path / "v1" / "jobs" / "2").write_text('{"id": 2}')
    with another_program(tmp_path) as address, Client(address) as cuemill:
        with pytest.raises(InvalidAnswerError, match="Check the address"):
            cuemill.job(1)
        with pytest.raises(InvalidAnswerError, match="Job lacks folder"):
            cuemill.job(2)
        with pytest.raises(ApiError, match="Use the address that it leads to: /v1/jobs/4/"):
            cuemill.job(4)
        with pytest.raises(NotFoundError, match="answered 404") as missing:
            cuemill.job(3)
        assert missing.value.code == "unknown"


def test_a_server_that_is_away_is_an_error_after_the_tries() -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}", retries=1) as cuemill,
        pytest.raises(ConnectionFailedError, match="does not answer"),
    ):
        cuemill.job(1)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://localhost", "http://"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a server"):
        Client(address)


def test_the_key_is_in_no_representation() -> None:
    with Client("http://localhost:8000", "secret") as cuemill:
        assert "secret" not in repr(cuemill._server)
