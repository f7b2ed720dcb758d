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
