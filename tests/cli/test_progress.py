"""Progress bars, and how a job's end is reported."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import sqlalchemy as sa
import typer

from cli.progress import TrainingBars, report_end, watch_job
from models.store import cancellation, jobs, results
from models.store.database import Database
from models.store.jobs import Submission
from models.store.states import JobStatus
from models.store.tables import Image
from tests.services import patience

CTRL_C = """
import signal
from cli.progress import TrainingBars

class Collected:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

with TrainingBars() as bars:
    bars.candidate("model1", epochs=2)
    bars.batch(1, 1, 10)
    Collected()
    try:
        bars.batch(1, 2, 10)
    except KeyboardInterrupt:
        raise SystemExit(0)
raise SystemExit("Ctrl-C was dropped.")
"""


def test_ctrl_c_ends_a_training_even_where_python_drops_it() -> None:
    # In its own process: the signal has crashed the tests' process, which has many threads of
    # other libraries.
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C],
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Exception ignored in" in done.stderr


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_training_restores_the_handler_of_ctrl_c(handler: signal.Handlers) -> None:
    handler_of_pytest = signal.signal(signal.SIGINT, handler)
    try:
        with TrainingBars():
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert ignored == (handler is signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, handler_of_pytest)


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    job, _ = jobs.submit(db, Submission("/faces", release_id))
    return job.id


def test_a_job_is_watched_to_its_end(db: Database, job_id: int) -> None:
    cancellation.cancel(db, job_id)
    assert watch_job(db, job_id).status is JobStatus.CANCELLED


def test_a_job_that_did_not_complete_ends_with_exit_code_1(
    db: Database, job_id: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        report_end(db, cancellation.cancel(db, job_id))
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "Job 1 cancelled: 0 images, 0 classified.\n"


@pytest.mark.parametrize(
    ("count", "start"),
    [(1_200, "1,200 predictions score"), (1, "1 prediction scores"), (0, None)],
)
def test_uncertain_predictions_are_counted(
    count: int,
    start: str | None,
    db: Database,
    job_id: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(results, "count_uncertain", lambda *_: (count, 0.58))
    report_end(db, replace(jobs.get(db, job_id), status=JobStatus.COMPLETED))
    *said, last = capsys.readouterr().err.splitlines()
    threshold = "below 0.58, the threshold above which 80 % were correct in validation."
    assert said == ([f"{start} {threshold}"] if start else [])
    assert last.startswith("Job 1 completed")


def test_images_that_a_drive_refused_end_with_exit_code_1_and_say_what_to_do(
    db: Database, job_id: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with db.write() as connection:
        row = {"job_id": job_id, "number": 0, "path": "a.jpg", "outcome": "unreadable"}
        connection.execute(sa.insert(Image).values({**row, "error_code": "read_error"}))
    with pytest.raises(typer.Exit) as ended:
        report_end(db, replace(jobs.get(db, job_id), status=JobStatus.COMPLETED))
    assert ended.value.exit_code == 1
    assert "failed for 1 image in all tries" in capsys.readouterr().err


def test_without_a_terminal_a_line_says_now_and_then_how_far_a_job_is(
    db: Database,
    release_id: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("cli.progress.LINE_S", 0.0)
    job, _ = jobs.submit(db, Submission("/photos", release_id))
    monkeypatch.setattr("time.sleep", lambda _: cancellation.cancel(db, job.id))
    watch_job(db, job.id)
    assert capsys.readouterr().err == "Job 1 queued: 0 images, 0 classified.\n"
