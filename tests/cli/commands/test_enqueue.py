"""`cuemill enqueue`."""

from pathlib import Path

import pytest

from tests.integration.deployment import Deployment
from tests.services import Redis, free_port


def test_it_prints_the_id_and_says_what_runs_the_job(cuemill: Deployment, faces: Path) -> None:
    done = cuemill.run("enqueue", faces)
    assert done.stdout == "1\n"
    assert "run `cuemill worker` or `cuemill up`" in done.stderr


def test_its_json_is_that_of_status(cuemill: Deployment, faces: Path) -> None:
    job = cuemill.json("enqueue", faces, "--no-recursive", "--retention-days", "3")
    assert (job["status"], job["recursive"], job["retention_days"]) == ("queued", False, 3)
    assert job == cuemill.json("status", str(job["id"])) == cuemill.json("jobs")[0]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:99999/0", "redis://nobody:wrong@{host}/0"])
def test_a_broker_that_cannot_work_is_found_before_the_job_is_committed(
    cuemill: Deployment, faces: Path, redis_server: Redis, url: str
) -> None:
    broker = url.format(host=f"127.0.0.1:{redis_server.port}")
    cuemill.environment["CUEMILL_BROKER_URL"] = broker
    refused = cuemill.run("enqueue", faces, exit_code=2 if "99999" in url else 1)
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr
    del cuemill.environment["CUEMILL_BROKER_URL"]
    assert cuemill.json("jobs") == []


def test_a_broker_that_is_away_does_not_keep_a_job_from_being_queued(
    cuemill: Deployment, faces: Path
) -> None:
    cuemill.environment["CUEMILL_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    queued = cuemill.run("enqueue", faces)
    assert queued.stdout == "1\n"
    assert "cannot be reached" in queued.stderr


def test_a_key_makes_repeating_safe_and_metadata_stays_with_the_job(
    cuemill: Deployment, faces: Path
) -> None:
    options = ("--metadata", '{"study": 7}', "--idempotency-key", "monday")
    jobs = [cuemill.json("enqueue", faces, *options) for _ in range(2)]
    assert [(job["id"], job["metadata"]) for job in jobs] == 2 * [(1, {"study": 7})]
    refused = cuemill.run("enqueue", faces, "--idempotency-key", "monday", exit_code=2)
    assert "was used for another request" in refused.stderr


@pytest.mark.parametrize("metadata", ["[1]", "{", '{"a": NaN}', '{"a": "\\u0000"}', 9_000 * "["])
def test_metadata_that_could_not_be_given_back_is_bad_usage(
    cuemill: Deployment, faces: Path, metadata: str
) -> None:
    refused = cuemill.run("enqueue", faces, "--metadata", metadata, exit_code=2)
    assert "Expected a JSON object" in refused.stderr


def test_waiting_ends_with_the_job_and_says_how_it_ended(cuemill: Deployment, faces: Path) -> None:
    cuemill.start("worker")
    done = cuemill.run("enqueue", faces, "--wait")
    assert done.stdout == "1\n"
    assert "Job 1 completed: 2 images" in done.stderr
