"""The page of one job."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api.dashboard.remedies import REMEDIES, remedy_of
from models.errors import ImageCode, NotFoundError
from models.store import batches, cancellation, jobs
from models.store.database import Database
from models.store.jobs import Submission
from models.store.records import ImageRecord
from models.store.states import JobStatus, Outcome
from models.store.tables import ModelRelease
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import (
    FACES,
    LEASE_S,
    claim_batch,
    list_folder,
    queue_job,
    records_of,
    submit_job,
)

REASONS = (("truncated", "Cut off."), ("truncated", "Cut."), ("empty", "The file is empty."))


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    """A running job with a face, a picture without one, three failures, and one to come."""
    job = queue_job(db, release_id)
    list_folder(db, job, 6, batch_size=5)
    records = [
        ImageRecord(0, "000.jpg", Outcome.CLASSIFIED, faces=FACES),
        ImageRecord(1, "001.jpg", Outcome.NO_FACE),
    ]
    for number, (code, message) in enumerate(REASONS, start=2):
        records.append(ImageRecord(number, f"00{number}.jpg", Outcome.UNREADABLE, code, message))
    batches.complete(db, claim_batch(db), records)
    return job.id


def test_the_counts_sum_and_the_title_says_how_far_it_is(client: TestClient, job_id: int) -> None:
    page = Page(client.get(f"/jobs/{job_id}"))
    assert page.title == "83\N{NBSP}% · Job 1 · Cuemill"
    assert (
        "1 classified 1 without a face 3 unreadable 0 failed 0 cancelled 1 waiting 6 images"
        in page.text
    )
    assert page.all("main")[0]["data-refresh"] == "2"


def test_an_ended_job_is_not_asked_for_again(client: TestClient, db: Database, job_id: int) -> None:
    cancellation.cancel(db, job_id)
    page = Page(client.get(f"/jobs/{job_id}"))
    assert "data-refresh" not in page.all("main")[0]
    assert page.title == "Job 1 · Cuemill"


def test_the_bars_lead_to_the_faces_of_an_emotion(client: TestClient, job_id: int) -> None:
    page = Page(client.get(f"/jobs/{job_id}"))
    assert f"/jobs/{job_id}/results?emotion=neutral" in page.links()
    assert "Neutral 1 100\N{NBSP}%" in page.text.replace("100 %", "100\N{NBSP}%")
    assert "27 emotions are on top for no face" in page.text


def test_folders_lead_to_their_faces(client: TestClient, db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 3, batch_size=3)
    paths = ("a/0.jpg", "a/1.jpg", "b/2.jpg")
    while claim := batches.claim(db, None, "worker", LEASE_S):
        rows = [replace(row, path=paths[row.number]) for row in records_of(claim)]
        batches.complete(db, claim, rows)

    page = Page(client.get(f"/jobs/{job.id}"))
    assert "a 2 100\N{NBSP}% Neutral b 1".replace("\N{NBSP}", " ") in page.text
    assert f"/jobs/{job.id}/results?path_prefix=a%2F" in page.links()


def test_failures_are_grouped_with_their_remedy(client: TestClient, job_id: int) -> None:
    page = Page(client.get(f"/jobs/{job_id}"))
    assert "3 images without a result" in page.text
    assert "2 truncated Retry Queues 2 images again, those with truncated." in page.text
    assert remedy_of("truncated") in page.text
    assert "For example: The file is empty." in page.text


def test_every_code_has_a_remedy_that_is_said(client: TestClient) -> None:
    assert set(REMEDIES) == set(ImageCode)
    assert remedy_of("of_another_version") == ""


def test_a_form_retries_the_images_of_one_code(
    client: TestClient, db: Database, job_id: int, announced: list[bool]
) -> None:
    page = Page(client.get(f"/jobs/{job_id}"))
    (form,) = page.all("form", action=f"/jobs/{job_id}/retry?code=truncated")
    assert form["method"] == "post"

    response = client.post(form["action"], follow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (303, f"/jobs/{job_id}")
    assert jobs.get(db, job_id).counts.unreadable == 1
    assert announced


def test_forms_cancel_and_delete_a_job(client: TestClient, db: Database, job_id: int) -> None:
    Page(client.post(f"/jobs/{job_id}/cancel"))
    assert jobs.get(db, job_id).status is JobStatus.CANCELLED
    assert not Page(client.get(f"/jobs/{job_id}")).all("form", action=f"/jobs/{job_id}/cancel")

    page = Page(client.post(f"/jobs/{job_id}/delete"))
    assert page.title == "Jobs · Cuemill"
    with pytest.raises(NotFoundError):
        jobs.get(db, job_id)


@pytest.mark.parametrize("act", ["cancel", "retry", "delete"])
def test_a_form_of_another_site_is_refused(
    client: TestClient, db: Database, job_id: int, act: str
) -> None:
    # What browsers send over plain HTTP, from a page and from one that hides where it is.
    for origin in ("https://evil.example", "null"):
        response = client.post(f"/jobs/{job_id}/{act}", headers={"Origin": origin})
        assert response.status_code == 403
    assert jobs.get(db, job_id).status is JobStatus.RUNNING


def test_a_page_lets_its_forms_say_where_they_come_from(client: TestClient, job_id: int) -> None:
    # With no-referrer, browsers would send `Origin: null`, which the guard refuses.
    assert client.get(f"/jobs/{job_id}").headers["Referrer-Policy"] == "same-origin"


def test_nothing_that_others_wrote_can_run_scripts(
    client: TestClient, db: Database, release_id: int
) -> None:
    with db.write() as connection:
        connection.execute(sa.update(ModelRelease).values(name=HOSTILE))
    metadata = {HOSTILE: [HOSTILE]}
    submission = Submission(f"/{HOSTILE}", release_id, metadata=metadata, exclude=(HOSTILE,))
    view, _ = jobs.submit(db, submission)
    list_folder(db, view, 1)
    claim = claim_batch(db)
    failure = ImageRecord(0, claim.items[0][1], Outcome.UNREADABLE, HOSTILE, HOSTILE)
    batches.complete(db, claim, [failure])

    text = Page(client.get(f"/jobs/{view.id}")).text
    assert text.count(HOSTILE) >= 4
    assert Page(client.get("/")).text.count(HOSTILE) == 2


def test_a_job_that_has_not_begun_is_shown(
    client: TestClient, db: Database, release_id: int
) -> None:
    job_id = submit_job(db, release_id)
    page = Page(client.get(f"/jobs/{job_id}"))
    assert "waits for a worker to list its folder" in page.text
    assert "No face has been classified yet." in page.text
