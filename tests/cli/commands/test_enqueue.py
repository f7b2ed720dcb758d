"""`cuemill enqueue`."""

from pathlib import Path

from tests.integration.deployment import Deployment


def test_it_prints_the_id_and_says_what_runs_the_job(cuemill: Deployment, faces: Path) -> None:
    done = cuemill.run("enqueue", faces)
    assert done.stdout == "1\n"
    assert "run `cuemill worker` or `cuemill up`" in done.stderr


def test_its_json_is_that_of_status(cuemill: Deployment, faces: Path) -> None:
    job = cuemill.json("enqueue", faces, "--no-recursive", "--retention-days", "3")
    assert (job["status"], job["recursive"], job["retention_days"]) == ("queued", False, 3)
    assert job == cuemill.json("status", str(job["id"])) == cuemill.json("jobs")[0]
