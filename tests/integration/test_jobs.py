"""The main job end to end, over both ways of running, with real worker processes."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from models.labels import EMOTIONS
from models.store import jobs
from models.store.database import Database
from models.store.states import JobStatus
from tests.integration.deployment import Deployment, audit, make_faces
from tests.services import Redis, wait_until


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Six good images, one with a name that is not UTF-8, and one of each kind of bad image."""
    folder = make_faces(tmp_path / "mixed" / "sub", 3).parent
    make_faces(folder, 1)
    good = (folder / "face-00000.jpg").read_bytes()

    (folder / "cut.jpg").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").touch()
    (folder / "escape.jpg").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    (folder / "notes.txt").write_text("no image")
    (folder / "prose.jpg").write_text("This is no image.")
    (folder / "really-a-jpeg.png").write_bytes(good)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(good)
    os.mkfifo(folder / "pipe.jpg")
    return folder


BAD = {
    "cut.jpg": "truncated",
    "empty.png": "empty",
    "escape.jpg": "outside_folder",
    "loop": "linked_folder",
    "pipe.jpg": "not_a_file",
    "prose.jpg": "not_an_image",
}
GOOD = {
    "face-00000.jpg",
    "really-a-jpeg.png",
    "caf\\xe9.jpg",
    *(f"sub/face-0000{i}.jpg" for i in range(3)),
}


def test_every_image_of_a_mixed_folder_ends_as_one_row_the_same_in_every_format(
    either: Deployment, mixed: Path
) -> None:
    either.start("worker")
    job = either.run("enqueue", mixed).stdout.strip()
    watched = either.run("status", job, "--watch")
    assert "6 classified, 6 unreadable" in watched.stderr

    records = [
        json.loads(line)
        for line in either.run("results", job, "--format", "jsonl").stdout.splitlines()
    ]
    assert {r["path"]: r["error"]["code"] for r in records if r["outcome"] == "unreadable"} == BAD
    classified = [r for r in records if r["outcome"] == "classified"]
    assert {r["path"] for r in classified} == GOOD
    for record in classified:
        assert list(record["scores"]) == list(EMOTIONS)
        assert abs(sum(record["scores"].values()) - 1) < 1e-4
        assert record["emotion"] == max(record["scores"], key=record["scores"].get)
        assert (record["score"], record["face"]) == (
            record["scores"][record["emotion"]],
            {"index": 0, "box": None, "confidence": None, "roll": None},
        )
        assert record["model"] == "tiny"

    assert json.loads(either.run("results", job, "--format", "json").stdout) == records
    rows = list(csv.DictReader(io.StringIO(either.run("results", job, "--format", "csv").stdout)))
    assert [row["path"] for row in rows] == [record["path"] for record in records]
    assert [row["happiness"] for row in rows if row["emotion"]] == [
        str(r["scores"]["happiness"]) for r in classified
    ]
    table = either.run("results", job).stdout
    assert all(path in table for path in [*GOOD, *BAD])

    client = either.serve(mixed)
    assert client.get(f"/v1/jobs/{job}/results", params={"limit": 1000}).json()["data"] == records
    lines = client.get(f"/v1/jobs/{job}/results.jsonl").text.splitlines()
    assert [json.loads(line) for line in lines] == records
    audit(either.database(), int(job), 12)


def test_a_folder_is_submitted_polled_read_and_deleted_over_http(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 100)
    client = either.serve(tmp_path)
    either.start("worker")

    submitted = client.post("/v1/jobs", json={"folder": str(folder), "metadata": {"study": "a"}})
    assert submitted.status_code == 202
    location = submitted.headers["Location"]
    seen = []

    def ended() -> bool:
        job = client.get(location).json()
        counts = dict(job["counts"])
        assert counts.pop("total") == sum(counts.values())
        assert min(counts.values()) >= 0
        seen.append(job)
        return bool(job["status"] == "completed")

    wait_until(ended, "the job to complete")
    job = seen[-1]
    assert (job["counts"]["classified"], job["metadata"], job["folder"]) == (
        100,
        {"study": "a"},
        str(folder),
    )

    paths, after = [], None
    while True:
        page = client.get(
            f"{location}/results", params={"limit": 30} | ({"after": after} if after else {})
        ).json()
        paths += [result["path"] for result in page["data"]]
        after = page["next"]
        if after is None:
            break
    assert paths == sorted(p.name for p in folder.iterdir())

    emotions = client.get(f"{location}/summary").json()["emotions"]
    assert sum(share["count"] for share in emotions.values()) == 100

    assert client.delete(location).status_code == 204
    assert client.get(location).status_code == 404
    page = {"data": [], "has_more": False, "next": None}
    assert client.get("/v1/results").json() == page


def wait_for_progress(database: Database, job_id: int, images: int) -> None:
    wait_until(
        lambda: jobs.get(database, job_id).counts.classified >= images,
        f"{images} images to be classified",
    )


def wait_for_end(database: Database, job_id: int) -> None:
    wait_until(
        lambda: jobs.get(database, job_id).status is JobStatus.COMPLETED, "the job to complete", 120
    )


def test_cancel_stops_a_running_job_and_keeps_its_finished_results(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 6000)
    database = either.database()
    either.start("worker")
    job_id = int(either.run("enqueue", folder).stdout)
    wait_for_progress(database, job_id, 16)

    cancelled = either.json("cancel", str(job_id))
    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["cancelled"] > 0
    assert either.json("cancel", str(job_id)) == cancelled

    listed = either.json("jobs", "--status", "cancelled")
    assert [job["id"] for job in listed] == [job_id]
    kept = either.run("results", str(job_id), "--format", "jsonl").stdout.splitlines()
    assert len(kept) == cancelled["counts"]["classified"]

    either.run("delete", str(job_id), "--yes")
    either.run("status", str(job_id), exit_code=2)


def test_a_folder_that_changes_during_the_job_loses_no_file_that_stayed(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 1000)
    database = either.database()
    either.start("worker")
    job_id = int(either.run("enqueue", folder).stdout)
    wait_for_progress(database, job_id, 16)

    for i in range(900, 1000):
        (folder / f"face-{i:05}.jpg").unlink()
    make_faces(folder / "zzz-late", 10)

    wait_for_end(database, job_id)
    counts = jobs.get(database, job_id).counts
    audit(database, job_id, counts.total)
    assert counts.classified >= 900
    assert counts.total - counts.classified == counts.unreadable <= 100


def test_a_folder_that_stays_away_fails_the_job_in_the_end_with_its_reason(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    job = either.run("enqueue", folder).stdout.strip()
    shutil.rmtree(folder)
    either.environment["CUEMILL_GIVE_UP_S"] = "1"
    either.start("worker")
    ended = either.run("status", job, "--watch", exit_code=1)
    assert "does not exist" in ended.stderr


def test_a_folder_is_accepted_while_the_queue_is_unreachable(
    scaled: Deployment, redis_server: Redis, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 20)
    client = scaled.serve(tmp_path)

    redis_server.kill()
    try:
        assert client.get("/readyz").status_code == 503
        submitted = client.post("/v1/jobs", json={"folder": str(folder)})
        assert submitted.status_code == 202
    finally:
        redis_server.start()

    scaled.start("worker")
    scaled.run("status", str(submitted.json()["id"]), "--watch")
