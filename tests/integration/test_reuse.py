"""Reuse, re-runs and retention on the command line and over HTTP, over both ways of running."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from models.release.files import save_release
from models.store import jobs, releases
from models.store.states import JobStatus
from models.store.tables import Job
from tests.builders import tiny_release
from tests.integration.deployment import Deployment, audit, make_faces
from tests.services import wait_until


def records(either: Deployment, job: str) -> list[dict[str, object]]:
    lines = either.run("results", job, "--format", "jsonl").stdout.splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name != "job_id"}
        for line in lines
    ]


def test_an_unchanged_folder_is_reused_unless_fresh_is_asked_for(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 100)
    either.start("worker")

    first = either.run("enqueue", folder).stdout.strip()
    assert "100 classified, " in either.run("status", first, "--watch").stderr

    for options, counts in (
        ([], "100 classified (100 reused)"),
        (["--trust-mtime"], "100 classified (100 reused)"),
        (["--fresh"], "100 classified, "),
    ):
        job = either.run("enqueue", folder, *options).stdout.strip()
        assert counts in either.run("status", job, "--watch").stderr
        assert records(either, job) == records(either, first)
        audit(either.database(), int(job), 100)

    shutil.copy(folder / "face-00001.jpg", folder / "face-00002.jpg")

    client = either.serve(tmp_path)
    location = client.post("/v1/jobs", json={"folder": str(folder), "trust_mtime": True}).headers[
        "Location"
    ]
    wait_until(lambda: client.get(location).json()["status"] == "completed", "the job to complete")
    job = client.get(location).json()
    assert (job["reused"], job["counts"]["classified"], job["expires_at"]) == (100, 100, None)

    (folder / "face-00003.jpg").write_bytes((folder / "face-00004.jpg").read_bytes()[:-200])
    location = client.post("/v1/jobs", json={"folder": str(folder), "fresh": True}).headers[
        "Location"
    ]
    wait_until(lambda: client.get(location).json()["status"] == "completed", "the job to complete")
    assert client.get(location).json()["reused"] == 0


def test_classify_again_says_how_many_it_reused(embedded: Deployment, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", 20)
    (folder / "cut.jpg").write_bytes(b"\xff\xd8")

    first = embedded.run("classify", folder, "--format", "csv")
    again = embedded.run("classify", folder, "--format", "csv")
    assert "21 images, 20 classified (20 reused), 1 unreadable" in again.stderr.splitlines()[-1]
    assert [line.split(",", 1)[1] for line in again.stdout.splitlines()] == [
        line.split(",", 1)[1] for line in first.stdout.splitlines()
    ]

    assert "reused" not in embedded.run("classify", folder, "--fresh").stderr


def test_stale_predictions_are_replaced_by_the_promoted_release(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 50)
    either.start("worker")
    job = either.run("enqueue", folder).stdout.strip()
    either.run("status", job, "--watch")

    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    either.run("models", "promote", tmp_path / "other.pkl")
    (folder / "face-00007.jpg").unlink()
    assert "Queued 50 images again" in either.run("retry", job, "--stale").stderr
    assert "50 classified" in either.run("status", job, "--watch").stderr

    models = {str(record["path"]): record["model"] for record in records(either, job)}
    assert models.pop("face-00007.jpg") == "tiny"
    assert set(models.values()) == {"other"}
    audit(either.database(), int(job), 50, kept=1)

    client = either.serve(tmp_path)
    assert client.post(f"/v1/jobs/{job}/retry", params={"stale": True}).json()["retried"] == 1
    wait_until(
        lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "completed", "the job to complete"
    )
    assert client.post(f"/v1/jobs/{job}/retry").json()["retried"] == 0


def test_a_job_keeps_its_release_though_another_is_promoted_while_it_runs(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 100)
    for number in range(100, 6_000):
        (folder / f"face-{number:05}.jpg").hardlink_to(folder / f"face-{number % 100:05}.jpg")

    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    database = either.database()
    either.start("worker")
    begun = int(either.run("enqueue", folder).stdout)
    wait_until(lambda: jobs.get(database, begun).counts.classified, "the first results")

    releases.promote(database, releases.register(database, tmp_path / "other.pkl"))
    assert jobs.get(database, begun).status is JobStatus.RUNNING
    after = int(either.run("enqueue", folder).stdout)

    for job, model in ((begun, "tiny"), (after, "other")):
        either.run("status", str(job), "--watch")
        assert {record["model"] for record in records(either, str(job))} == {model}
    for job in (begun, after):
        audit(database, job, 6_000)


def test_a_job_past_its_retention_is_deleted_by_the_sweep_of_running_workers(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 30)
    database = either.database()
    either.start("worker")

    kept, gone = (
        either.run("enqueue", folder, "--retention-days", days).stdout.strip()
        for days in ("9", "7")
    )
    for job in (kept, gone):
        assert "Will be deleted after" not in either.run("status", job, "--watch").stderr
        assert either.json("status", job)["expires_at"] is not None

    with database.write() as connection:
        for job in (kept, gone):
            moment = jobs.get(database, int(job)).queued_at - timedelta(days=8)
            connection.execute(sa.update(Job).where(Job.id == int(job)).values(completed_at=moment))

    wait_until(
        lambda: [job.id for job in jobs.list_newest(database)] == [int(kept)],
        "the job to be deleted",
    )
    either.run("status", gone, exit_code=2)
    audit(database, int(kept), 30)
