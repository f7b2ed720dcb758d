"""The list of jobs."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.dashboard.pages.jobs import PAGE
from models.health.checks import Check, State
from models.health.watch import Watch
from models.store import cancellation, jobs
from models.store.database import Database
from models.store.jobs import Submission
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import list_folder, queue_job


def test_without_a_job_the_page_says_how_to_submit_one(client: TestClient) -> None:
    page = Page(client.get("/"))
    assert "cuemill enqueue /path/to/pictures" in page.text
    assert "curl http://localhost:8000/v1/jobs" in page.text
    assert "All well." in page.text


def test_jobs_are_listed_with_their_counts(
    client: TestClient, db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 1204)
    page = Page(client.get("/"))
    assert "/jobs/1" in page.links()
    assert "0 of 1,204 images" in page.text
    assert "No worker is running. Waiting: 1 job with 1,204 images." in page.text


def test_a_link_with_a_count_filters_by_status(
    client: TestClient, db: Database, release_id: int
) -> None:
    for _ in range(2):
        queue_job(db, release_id)
    cancellation.cancel(db, 1)

    everything = Page(client.get("/"))
    assert "All 2 Queued 1 Running 0 Completed 0 Cancelled 1 Failed 0" in everything.text
    (link,) = {link for link in everything.links() if "cancelled" in link}
    cancelled = Page(client.get(link))
    assert [link for link in cancelled.links() if link.startswith("/jobs/")] == ["/jobs/1"]
    assert "No job is failed." in Page(client.get("/?status=failed")).text


def test_older_jobs_are_behind_a_link(client: TestClient, db: Database, release_id: int) -> None:
    for _ in range(PAGE + 1):
        queue_job(db, release_id)

    first = Page(client.get("/"))
    (following,) = first.all("a", rel="next")
    second = Page(client.get(following["href"]))
    assert "/jobs/1" in second.links()
    assert "/jobs/2" not in second.links()
    assert not second.all("a", rel="next")


def test_what_needs_attention_is_said_with_its_remedy(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Check("queue", State.PROBLEM, "redis://secret is down.", "Start `redis` again.")

    async def look(self: Watch) -> list[Check]:
        return [secret, Check("disk", State.WARNING, "Free some space."), Check("w", State.OK, "")]

    monkeypatch.setattr(Watch, "look_async", look)
    page = Page(client.get("/"))
    assert "2 things need your attention" in page.text
    assert "Queue. Start redis again. Disk. Free some space." in page.text
    assert "secret" not in page.text


def test_without_its_database_the_page_says_what_to_do(
    client_without_database: TestClient,
) -> None:
    page = Page(client_without_database.get("/", headers={"Accept": "text/html"}), 503)
    assert "The database cannot be reached. Check that it runs" in page.text
    assert page.all("main")[0]["data-refresh"] == "5"


def test_names_and_reasons_cannot_run_scripts(
    client: TestClient, db: Database, release_id: int
) -> None:
    view, _ = jobs.submit(db, Submission(f"/photos/{HOSTILE}", release_id))
    cancellation.fail_job(db, view.id, "folder", HOSTILE)
    assert Page(client.get("/")).text.count(HOSTILE) == 2


@pytest.mark.parametrize("path", ["/jobs/7", "/nowhere", "/?status=odd", "/?after=x"])
def test_an_error_is_a_page_for_browsers_and_a_problem_for_programs(
    client: TestClient, path: str
) -> None:
    problem: Any = client.get(path).json()
    page = Page(client.get(path, headers={"Accept": "text/html"}), problem["status"])
    assert problem["detail"].replace("`", "") in page.text
    assert problem["code"] in page.text
