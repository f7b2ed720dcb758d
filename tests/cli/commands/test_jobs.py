"""Commands for existing jobs. tests/integration runs them on jobs with results."""

import json
from pathlib import Path

import pytest

from tests.integration.deployment import Deployment


def test_without_jobs_it_says_how_to_create_one(cuemill: Deployment) -> None:
    assert "No jobs yet. Run `cuemill classify FOLDER`" in cuemill.run("jobs").stderr
    assert cuemill.json("jobs") == []


def test_jobs_are_listed_by_status(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    assert [job["id"] for job in cuemill.json("jobs", "--status", "queued")] == [1]
    assert cuemill.run("jobs", "--status", "failed").stderr == "No jobs match.\n"


def test_jobs_are_listed_by_folder_metadata_and_time(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces, "--metadata", '{"study": "pilot"}')

    def count(*filters: str) -> int:
        return len(json.loads(cuemill.run("jobs", "--json", *filters).stdout))

    matching = ("--folder", str(faces), "--metadata", "study=pilot")
    assert count(*matching, "--submitted-after", "2026-11-01") == 1
    assert count("--metadata", "study=other") == 0
    refused = cuemill.run("jobs", "--ended-before", "monday", exit_code=2)
    assert "2026-12-01T15:30" in refused.stderr


def test_status_without_a_job_shows_checks_and_live_jobs(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    shown = cuemill.run("status", exit_code=1).stdout
    assert "No worker is running. Waiting: 1 job." in shown
    assert str(faces) in shown


def test_status_says_which_settings_file_was_read(cuemill: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "cuemill.env"
    file.write_text("CUEMILL_BATCH_SIZE=7\n")
    cuemill.environment["CUEMILL_ENV_FILE"] = str(file)
    assert f"Settings come from the environment and {file}.\n" in cuemill.run("status").stdout
    assert cuemill.json("status")["settings_file"] == str(file)

    cuemill.environment |= {"CUEMILL_ENV_FILE": "", "XDG_CONFIG_HOME": str(tmp_path)}
    assert "Settings come from the environment.\n" in cuemill.run("status").stdout
    assert cuemill.json("status")["settings_file"] is None


def test_a_cancelled_job_shows_when_it_will_be_deleted(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces, "--retention-days", "3")
    assert "Will be deleted" not in cuemill.run("status", "1").stdout
    said = cuemill.run("cancel", "1").stdout.splitlines()
    assert said[0] == "Job 1 cancelled: 0 images, 0 classified."
    assert said[1].startswith("Will be deleted after 20")


def test_a_retry_without_failed_images_queues_none(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    assert cuemill.run("retry", "1").stderr == "Queued 0 images again.\n"


def test_deleting_asks_unless_told_not_to(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    refused = cuemill.run("delete", "1", exit_code=1).stderr
    assert f"Delete job 1 with the results of 0 images in {faces}?" in refused
    assert cuemill.run("delete", "1", "--yes").stderr == "Deleted job 1.\n"
    assert "No job 1." in cuemill.run("delete", "1", "--yes", exit_code=2).stderr


@pytest.mark.parametrize("job_id", ["0", "9223372036854775808", "x"])
def test_an_id_that_no_job_can_have_is_bad_usage(cuemill: Deployment, job_id: str) -> None:
    assert "Invalid value for 'JOB'" in cuemill.run("status", job_id, exit_code=2).stderr
