"""`cuemill classify` and `cuemill up`: one command that runs everything, ends it and resumes it."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from models.store import jobs
from models.store.database import Database
from models.store.states import JobStatus
from tests.integration.deployment import CUEMILL, Deployment, audit, make_faces, processes_of
from tests.services import patience, wait_until


def start_classify(embedded: Deployment, folder: Path) -> tuple[subprocess.Popen[bytes], Database]:
    """Starts a classify in its own process group; returns it amid its work, and its database."""
    database = embedded.database()
    database.upgrade()

    process = subprocess.Popen(
        [*CUEMILL, "classify", str(folder)],
        env=embedded.variables,
        start_new_session=True,
        stderr=subprocess.PIPE,
    )

    wait_until(
        lambda: (
            jobs.list_newest(database) and jobs.list_newest(database)[0].counts.classified >= 64
        ),
        "progress",
    )
    return process, database


def test_classify_prints_results_on_stdout_and_the_summary_last_on_stderr(
    embedded: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 40)
    done = embedded.run("classify", folder, "--format", "jsonl")
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 40
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Job 1 completed: 40 images, 40 classified")


def test_classify_writes_a_file_in_the_format_its_name_says(
    embedded: Deployment, tmp_path: Path
) -> None:
    folder, output = make_faces(tmp_path / "faces", 3), tmp_path / "out.csv"
    done = embedded.run("classify", folder, "-o", output)
    assert done.stdout == ""
    assert len(output.read_text().splitlines()) == 4
    embedded.run("classify", folder, "-o", tmp_path / "out.docx", exit_code=2)
    embedded.run("classify", folder, "-o", tmp_path / "absent" / "out.csv", exit_code=2)


def test_interrupted_it_says_how_to_resume_and_resumes_where_it_was(
    embedded: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 3000)
    process, database = start_classify(embedded, folder)

    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == 130
    assert b"Run the same command again to resume job 1." in stderr
    wait_until(lambda: processes_of(process.pid) == [], "its processes to be gone")

    interrupted = jobs.get(database, 1)
    assert interrupted.status is JobStatus.RUNNING
    assert interrupted.counts.pending > 0 or interrupted.scanned_at is None

    again = embedded.run("classify", folder, "--format", "csv")
    assert "Resuming job 1" in again.stderr
    assert len(again.stdout.splitlines()) == 3001
    assert len(jobs.list_newest(database)) == 1
    audit(database, 1, 3000)


def test_killed_it_takes_its_workers_along_and_resumes_when_run_again(
    embedded: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 2000)
    process, database = start_classify(embedded, folder)
    process.kill()
    process.communicate()
    wait_until(lambda: processes_of(process.pid) == [], "its workers to be gone")
    embedded.run("classify", folder)
    audit(database, 1, 2000)


def test_classify_works_on_its_own_job_whatever_else_is_queued(
    embedded: Deployment, tmp_path: Path
) -> None:
    embedded.run("enqueue", make_faces(tmp_path / "large", 500))
    embedded.run("classify", make_faces(tmp_path / "small", 3))
    assert embedded.json("status", "1")["status"] == "queued"


def test_single_files_are_classified_and_no_others(embedded: Deployment, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    (folder / "notes.txt").write_text("no picture")
    done = embedded.run("classify", folder / "face-00002.jpg", folder / "notes.txt")
    assert "2 images, 1 classified" in done.stderr
    assert "notes.txt" in done.stdout + done.stderr


def test_a_file_name_cannot_control_the_terminal(embedded: Deployment, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces [red]", 1)
    (folder / "face-00000.jpg").rename(folder / "a\x1b[31m\n[b]b.jpg")
    shown = embedded.run("classify", folder).stdout
    assert "a\\x1b[31m\\n[b]b.jpg" in shown
    assert "\x1b" not in shown


def test_subfolders_can_be_left_out(embedded: Deployment, tmp_path: Path) -> None:
    make_faces(tmp_path / "faces" / "sub", 5)
    folder = make_faces(tmp_path / "faces", 2)
    assert "2 images" in embedded.run("classify", folder, "--no-recursive").stderr


@pytest.mark.parametrize(
    ("make", "exit_code", "sentence"),
    [
        (lambda path: None, 2, "does not exist"),
        (lambda path: path.mkdir(), 1, "contains no image"),
        (lambda path: path.symlink_to(path), 2, "does not exist"),
    ],
)
def test_a_folder_that_cannot_be_classified_is_one_sentence_and_an_exit_code(
    embedded: Deployment, tmp_path: Path, make: object, exit_code: int, sentence: str
) -> None:
    make(tmp_path / "target")  # type: ignore[operator]
    done = embedded.run("classify", tmp_path / "target", exit_code=exit_code)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_used_is_one_sentence_and_nothing_is_queued(
    embedded: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 2)
    hostile = tmp_path / "hostile.pkl"
    hostile.write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    assert (
        "cannot be verified"
        in embedded.run("classify", folder, "--model", hostile, exit_code=1).stderr
    )
    assert (
        "neither a file nor a known release"
        in embedded.run("classify", folder, "--model", "x", exit_code=2).stderr
    )

    assert embedded.json("jobs") == []


def test_a_missing_model_fails_the_job_with_its_reason_and_retry_runs_it(
    embedded: Deployment, tmp_path: Path, tiny_model: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 2)
    away = tmp_path / "elsewhere" / "tiny.pkl"
    away.parent.mkdir()
    for suffix in ("", ".sha256"):
        shutil.copy(f"{tiny_model}{suffix}", f"{away}{suffix}")
    embedded.environment["CUEMILL_MODEL"] = str(away)

    job = embedded.run("enqueue", folder).stdout.strip()
    shutil.rmtree(away.parent)
    embedded.environment["CUEMILL_GIVE_UP_S"] = "1"
    embedded.start("worker")
    assert "is not on this host" in embedded.run("status", job, "--watch", exit_code=1).stderr
    away.parent.mkdir()
    for suffix in ("", ".sha256"):
        shutil.copy(f"{tiny_model}{suffix}", f"{away}{suffix}")

    embedded.run("retry", job)
    embedded.run("status", job, "--watch")


def test_retry_classifies_a_file_that_was_repaired(embedded: Deployment, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", 2)
    (folder / "broken.jpg").write_bytes(b"")
    embedded.run("classify", folder)

    shutil.copy(folder / "face-00000.jpg", folder / "broken.jpg")
    done = embedded.run("retry", "1", "--code", "empty")
    assert "Queued 1 image again" in done.stderr

    embedded.start("worker")
    assert "3 images, 3 classified" in embedded.run("status", "1", "--watch").stderr


def test_up_serves_and_works_in_one_command(embedded: Deployment, tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", 30)
    client = embedded.up(tmp_path)
    job = client.post("/v1/jobs", json={"folder": str(folder)}).json()
    wait_until(
        lambda: client.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed",
        "the job to complete",
    )
    assert client.get(f"/v1/jobs/{job['id']}").json()["counts"]["classified"] == 30


@pytest.mark.parametrize("small_disk", ["4m"], indirect=True)
def test_a_full_disk_under_the_database_loses_nothing_and_the_job_resumes_when_there_is_room(
    embedded: Deployment, tmp_path: Path, small_disk: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 2500)
    embedded.environment["CUEMILL_DATA_DIR"] = str(small_disk / "data")
    process, database = start_classify(embedded, folder)

    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        _fill(file.fileno())

    assert process.stderr is not None
    while b"is on a full disk" not in (line := process.stderr.readline()):
        assert line, "it ended without reporting the disk"
    assert jobs.get(database, 1).status is JobStatus.RUNNING

    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    process.communicate(timeout=patience(120))
    assert process.returncode == 0
    audit(database, 1, 2500)


def _fill(descriptor: int) -> None:
    try:
        while True:
            os.write(descriptor, b"\0" * 4096)
    except OSError:
        return
